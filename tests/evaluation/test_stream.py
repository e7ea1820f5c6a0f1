"""Scoring a stream: every token once, the same sums however it is cut, against the NumPy twin."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.evaluation.figures import compute_perplexity
from llm_timecycle.evaluation.stream import (
    Scorer,
    Sums,
    make_scorer,
    score_stream,
)
from llm_timecycle.model.network import build_network, build_trained_network, read_parameters
from llm_timecycle.reference import losses
from llm_timecycle.reference import network as twin
from tests.evaluation.sharp_network import build_sharp_network

SETTINGS = ModelSettings(embedding_dim=4, hidden_units=8)
V = 13
IDS = np.random.default_rng(1).integers(0, V, 500).astype(np.uint8)


@pytest.fixture(scope="module")
def network() -> object:
    return build_sharp_network(SETTINGS, V)


@pytest.fixture(scope="module")
def scorer(network: object) -> Scorer:
    return make_scorer(network)


@pytest.mark.parametrize("length", [2, 3, 100, 500])
def test_one_lane_scores_every_token_after_the_first_as_the_twin_does(
    network: object, scorer: Scorer, length: int
) -> None:
    ids = IDS[:length]
    params = {name: w.astype(np.float64) for name, w in read_parameters(network).items()}
    logits, *_ = twin.forward(params, ids[None, :-1], twin.make_zero_states(params, 1))
    expected = losses.compute_token_losses(logits, ids[None, 1:].astype(np.int64)).sum()
    right = int((logits.argmax(-1) == ids[None, 1:]).sum())
    sums = score_stream(scorer, SETTINGS, ids)
    assert sums.loss_nats == pytest.approx(expected, rel=1e-5)
    assert (sums.correct, sums.predicted) == (right, length - 1)


@pytest.mark.parametrize("window", [1, 7, 499, 1000])
def test_the_same_stream_in_many_pieces_gives_the_same_sums(scorer: Scorer, window: int) -> None:
    whole = score_stream(scorer, SETTINGS, IDS, window=256)
    pieces = score_stream(scorer, SETTINGS, IDS, window=window)
    assert pieces.loss_nats == pytest.approx(whole.loss_nats, rel=1e-6)
    assert (pieces.correct, pieces.predicted) == (whole.correct, whole.predicted)


@pytest.mark.parametrize("lanes", [2, 3, 7, 64, 499, 5000])
def test_lanes_score_every_token_once(lanes: int) -> None:
    """A fake model without memory: the loss of a prediction is its target, so sums are exact."""

    def score(tokens, targets, weights, states):  # type: ignore[no-untyped-def]
        tokens, targets, weights = (np.asarray(x, np.float64) for x in (tokens, targets, weights))
        return (targets * weights).sum(), ((targets == tokens) * weights).sum(), *states

    scorer = Scorer(score, lambda tokens, states: states)
    sums = score_stream(scorer, SETTINGS, IDS, lanes=lanes, window=5)
    assert sums.loss_nats == IDS[1:].sum()
    assert sums.correct == (IDS[1:] == IDS[:-1]).sum()
    assert sums.predicted == len(IDS) - 1


def test_all_windows_have_one_width_since_each_is_compiled() -> None:
    widths = []

    def score(tokens, targets, weights, states):  # type: ignore[no-untyped-def]
        widths.append(tokens.shape[1])
        return 0.0, 0, *states

    score_stream(Scorer(score, lambda tokens, states: states), SETTINGS, IDS, lanes=2, window=100)
    assert widths == [84, 84, 84]  # 250 predictions a lane


def test_a_scorer_traced_ahead_gives_the_same_sums(network: object, scorer: Scorer) -> None:
    ahead = make_scorer(network, ahead=True)
    assert score_stream(ahead, SETTINGS, IDS) == score_stream(scorer, SETTINGS, IDS)


def test_lanes_that_warm_up_over_all_before_them_give_the_exact_figure(scorer: Scorer) -> None:
    """Two lanes of 65 predictions: the second warms up on the 64 or 65 tokens before it."""
    exact = score_stream(scorer, SETTINGS, IDS[:130])
    lanes = score_stream(scorer, SETTINGS, IDS[:130], lanes=2)
    assert lanes.loss_nats == pytest.approx(exact.loss_nats, rel=1e-6)


def test_many_lanes_come_close_to_the_exact_figure() -> None:
    scorer = make_scorer(build_network(SETTINGS, V, seed=1))
    exact = score_stream(scorer, SETTINGS, IDS)
    lanes = score_stream(scorer, SETTINGS, IDS, lanes=16)
    assert lanes.loss_nats == pytest.approx(exact.loss_nats, rel=1e-4)


def test_means_divide_once() -> None:
    sums = Sums(loss_nats=6.0, correct=1, predicted=4)
    assert (sums.loss_nats_per_token, sums.accuracy) == (1.5, 0.25)
    assert sums.perplexity == pytest.approx(4.481689)


def test_a_perplexity_beyond_a_float_is_infinite() -> None:
    assert compute_perplexity(1000.0) == math.inf


def test_a_long_warm_up_gives_the_exact_figure_in_many_lanes(
    network: object, scorer: Scorer
) -> None:
    """A lane whose warm-up reaches back to the first token starts from the very state."""
    exact = score_stream(scorer, SETTINGS, IDS)
    halves = score_stream(scorer, SETTINGS, IDS, lanes=2, warm_up=1000)
    assert halves.loss_nats == pytest.approx(exact.loss_nats, rel=1e-6)
    cold = score_stream(scorer, SETTINGS, IDS, lanes=2, warm_up=0)
    assert cold.loss_nats != pytest.approx(exact.loss_nats, rel=1e-6)


def test_many_lanes_in_bfloat16_give_the_exact_figure() -> None:
    settings = ModelSettings(embedding_dim=16, hidden_units=32, num_layers=2)
    network = build_network(settings, 40, seed=3)
    weights = read_parameters(network)
    ids = np.random.default_rng(1).integers(0, 40, 8_000)
    losses = {}
    for policy, lanes in (("float32", 1), ("mixed_bfloat16", 9)):
        scored = build_trained_network(settings, 40, weights, policy)
        sums = score_stream(make_scorer(scored), settings, ids, lanes=lanes, warm_up=512)
        losses[policy] = sums.loss_nats_per_token
    assert losses["mixed_bfloat16"] == pytest.approx(losses["float32"], abs=0.0005)
    assert losses["mixed_bfloat16"] != losses["float32"]
