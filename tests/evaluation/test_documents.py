"""The law of documents: the loss of one does not depend on what stood before it, in any lane."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.evaluation.stream import Scorer, Sums, make_scorer, score_stream
from llm_timecycle.model.loss import LossNetwork
from llm_timecycle.model.network import make_zero_states
from llm_timecycle.text.batches import Lanes
from tests.evaluation.sharp_network import build_sharp_network

SETTINGS = ModelSettings(embedding_dim=4, hidden_units=8)
V, EOS = 13, 1
SHAPES = [(1, 300), (2, 5), (3, 1), (7, 16), (40, 5), (2, 300), (40, 300)]
"""Lanes and windows: the loop of the LSTM is traced and compiled anew for each pair."""
READ_SHAPES = [(1, 50), (2, 3), (3, 7), (4, 1), (5, 2)]
"""The same, as training reads them."""
RNG = np.random.default_rng(7)
DOCUMENTS = [RNG.integers(2, V, length) for length in (9, 1, 30, 4, 17, 1, 25, 12)]


def join(documents: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A stream of documents as the token store has it, and where they begin."""
    ids = np.concatenate([[EOS], *([*document, EOS] for document in documents)]).astype(np.uint8)
    lengths = [len(document) + 1 for document in documents]
    return ids, 1 + np.cumsum([0, *lengths[:-1]])


@pytest.fixture(scope="module")
def network() -> object:
    return build_sharp_network(SETTINGS, V)


@pytest.fixture(scope="module")
def scorer(network: object) -> Scorer:
    return make_scorer(network, 2, has_documents=True)


@pytest.fixture(scope="module")
def alone(network: object) -> list[Sums]:
    """Each document scored for itself, as generation reads it: after an <eos>."""
    plain = make_scorer(network)
    return [score_stream(plain, SETTINGS, join([document])[0]) for document in DOCUMENTS]


@settings(max_examples=30)
@given(
    order=st.permutations(range(len(DOCUMENTS))),
    shape=st.sampled_from(SHAPES),
)
def test_a_text_scores_what_its_documents_score_alone(
    scorer: Scorer, alone: list[Sums], order: list[int], shape: tuple[int, int]
) -> None:
    """In many lanes too: the warm-up of a lane reaches back to where its document begins."""
    lanes, window = shape
    ids, starts = join([DOCUMENTS[number] for number in order])
    sums = score_stream(scorer, SETTINGS, ids, starts, lanes=lanes, window=window)
    assert sums.loss_nats == pytest.approx(sum(one.loss_nats for one in alone), rel=1e-5)
    assert sums.correct == sum(one.correct for one in alone)
    assert sums.predicted == len(ids) - 1 == sum(one.predicted for one in alone)


def test_without_the_starts_the_documents_are_one_text(
    network: object, scorer: Scorer, alone: list[Sums]
) -> None:
    """So the law above can fail."""
    ids, _ = join(DOCUMENTS)
    one_text = score_stream(make_scorer(network), SETTINGS, ids)
    assert one_text.loss_nats != pytest.approx(sum(one.loss_nats for one in alone), rel=1e-3)


def score_tokens(network: object, lanes: Lanes) -> np.ndarray:
    """The loss of every token of an epoch as training reads it, by its position; nan: not read."""
    losses = np.full(len(lanes.ids), np.nan)
    states = make_zero_states(SETTINGS, lanes.lanes)
    for position in range(lanes.steps_per_epoch):
        tokens, targets, keep = map(tf.constant, lanes.read_window(position))
        found, states = LossNetwork(network).compute_losses(tokens, targets, states, False, keep)
        first = np.arange(lanes.lanes)[:, None] * lanes.lane_length + position * lanes.window
        losses[first + np.arange(1, tokens.shape[1] + 1)] = found.numpy()
    return losses


@settings(max_examples=8)
@given(
    order=st.permutations(range(len(DOCUMENTS))),
    shape=st.sampled_from(READ_SHAPES),
)
def test_training_gives_each_document_the_loss_that_it_has_alone(
    network: object, alone: list[Sums], order: list[int], shape: tuple[int, int]
) -> None:
    """Across the borders of windows; a document that a lane border cuts counts up to there."""
    ids, starts = join([DOCUMENTS[number] for number in order])
    cut = Lanes(ids, *shape, starts)
    losses = score_tokens(network, cut)
    whole = 0
    for number, (start, stop) in zip(order, pairwise([*starts, len(ids)]), strict=True):
        is_in_one_lane = (start - 1) // cut.lane_length == (stop - 2) // cut.lane_length
        if is_in_one_lane and not np.isnan(losses[start:stop]).any():
            whole += 1
            expected = alone[number].loss_nats
            assert losses[start:stop].sum() == pytest.approx(expected, rel=1e-4)
    assert whole >= 3
