"""Reading in lanes: every token counts once, and a lane's cache has what was really before it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.evaluation.adaptive import reading
from llm_timecycle.evaluation.adaptive.neural_cache import CacheReach
from llm_timecycle.evaluation.adaptive.reading import (
    HiddenReader,
    Text,
    choose_cache_lanes,
    make_hidden_reader,
    read_lanes,
)
from llm_timecycle.evaluation.adaptive.scoring import Predictions, add_up, collect, predict
from llm_timecycle.evaluation.stream import make_scorer, score_stream
from tests.evaluation.sharp_network import build_sharp_network

SETTINGS = ModelSettings(embedding_dim=4, hidden_units=8)
V, REACH = 13, CacheReach(60, 0.3)
RNG = np.random.default_rng(4)
IDS = RNG.integers(2, V, 400).astype(np.uint8)
STARTS = np.array([1, 90, 91, 250])
IDS[STARTS - 1] = 1
TEXTS = {"one document": Text(IDS), "documents": Text(IDS, STARTS)}


@pytest.fixture(scope="module")
def network() -> object:
    return build_sharp_network(SETTINGS, V)


@pytest.fixture(scope="module")
def reader(network: object) -> HiddenReader:
    return make_hidden_reader(network, 2)


def read(reader: HiddenReader, text: Text, lanes: int) -> Predictions:
    blocks = read_lanes(reader, SETTINGS, text, lanes=lanes, memory=REACH.window)
    return collect(predict(blocks, [REACH]))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_lanes_see_the_history_that_one_lane_sees(
    network: object, reader: HiddenReader, text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_TOKENS", 40)
    one = read(make_hidden_reader(network), text, lanes=1)
    begins = STARTS - 1 if len(text.document_starts) else np.array([0])
    assert np.flatnonzero(one.is_empty).tolist() == begins.tolist()
    for lanes in (3, 7):
        many = read(reader, text, lanes)  # in another order
        assert np.sort(many.losses) == pytest.approx(np.sort(one.losses), rel=1e-4, abs=1e-5)
        assert np.sort(many.cached) == pytest.approx(np.sort(one.cached), rel=1e-4, abs=1e-6)
        assert many.is_empty.sum() == one.is_empty.sum()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_without_the_cache_it_is_the_plain_score(
    network: object, reader: HiddenReader, text: Text
) -> None:
    scorer = make_scorer(network, has_documents=len(text.document_starts) > 0)
    plain = score_stream(scorer, SETTINGS, text.ids, text.document_starts)
    blocks = read_lanes(reader, SETTINGS, text, lanes=2, memory=REACH.window)
    nats, mixed, tokens = add_up(predict(blocks, [REACH]), 0.0)
    assert tokens == plain.predicted
    assert nats == pytest.approx(plain.loss_nats, rel=1e-5)
    assert mixed == pytest.approx(nats, rel=1e-6)


def test_a_cache_helps_where_a_text_repeats_itself(reader: HiddenReader) -> None:
    text = Text(np.tile(IDS[:30], 10))
    blocks = read_lanes(reader, SETTINGS, text, lanes=2, memory=REACH.window)
    nats, mixed, _ = add_up(predict(blocks, [CacheReach(60, 5.0)]), 0.5)
    assert mixed < 0.8 * nats


def test_lanes_are_few_where_a_window_is_large_or_the_cache_would_be() -> None:
    assert choose_cache_lanes(1_000_000, 500, 8) == reading.MOST_LANES
    assert choose_cache_lanes(1_000_000, 4000, 8) == 55
    assert choose_cache_lanes(1_000_000, 4000, 2048) == 4


def test_a_text_scores_what_its_documents_score_alone(reader: HiddenReader) -> None:
    """With the cache too: it is empty where a document begins."""
    bounds = [*STARTS.tolist(), len(IDS)]
    documents = [Text(IDS[start - 1 : stop]) for start, stop in pairwise(bounds)]
    one = make_hidden_reader(build_sharp_network(SETTINGS, V))

    def score(reader: HiddenReader, text: Text, lanes: int) -> float:
        blocks = read_lanes(reader, SETTINGS, text, lanes=lanes, memory=REACH.window)
        return add_up(predict(blocks, [REACH]), 0.3)[1]

    alone = sum(score(one, document, 1) for document in documents)
    assert score(reader, TEXTS["documents"], 3) == pytest.approx(alone, rel=1e-5)
    assert score(reader, TEXTS["one document"], 3) != pytest.approx(alone, rel=1e-3)
