"""The cache of many lanes gives what its twin gives for each token, however it is fed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.evaluation.adaptive import neural_cache
from llm_timecycle.evaluation.adaptive.neural_cache import (
    NO_DOCUMENT,
    CacheReach,
    NeuralCache,
    mix,
)
from llm_timecycle.reference.neural_cache import compute_cache_distribution, mix_with_cache

V, H, N = 6, 3, 40
RNG = np.random.default_rng(5)
HIDDEN = RNG.normal(size=(2, N, H)).astype(np.float32)
FOLLOWING = RNG.integers(0, V, (2, N)).astype(np.int32)
ONE_DOCUMENT = np.zeros((2, N), np.int64)
REACHES = (CacheReach(4, 0.7), CacheReach(15, 2.0))


def compute_expected(documents: np.ndarray, reach: CacheReach, lane: int, t: int) -> float | None:
    """What the twin says of one token."""
    known = [i for i in range(t) if documents[lane, i] == documents[lane, t]]
    p = compute_cache_distribution(
        HIDDEN[lane, known],
        FOLLOWING[lane, known],
        HIDDEN[lane, t],
        vocab_size=V,
        window=reach.window,
        theta=reach.theta,
    )
    return None if p is None else float(p[FOLLOWING[lane, t]])


@settings(max_examples=25)
@given(
    cuts=st.lists(st.integers(1, N - 1), max_size=6),
    begins=st.sets(st.integers(1, N - 1), max_size=4),
    warm_up=st.integers(0, 20),
)
def test_it_is_its_twin_in_blocks_of_any_size(
    cuts: list[int], begins: set[int], warm_up: int
) -> None:
    documents = np.stack([np.cumsum(np.isin(np.arange(N), [*begins])), np.zeros(N, np.int64)])
    cache = NeuralCache(2, H, REACHES)
    bounds = sorted({0, warm_up, N, *cuts})
    for start, stop in pairwise(bounds):
        part = slice(start, stop)
        block = (HIDDEN[:, part], FOLLOWING[:, part], documents[:, part])
        if stop <= warm_up:
            cache.read(*block)
            continue
        found, is_empty = cache.score(*block)
        for candidate, reach in enumerate(REACHES):
            for lane in (0, 1):
                for t in range(start, stop):
                    expected = compute_expected(documents, reach, lane, t)
                    assert is_empty[lane, t - start] == (expected is None)
                    if expected is not None:
                        assert found[candidate, lane, t - start] == pytest.approx(
                            expected, rel=1e-4, abs=1e-6
                        )


def test_one_token_at_a_time_for_a_long_text_remembers_the_window_only() -> None:
    cache = NeuralCache(2, H, REACHES[:1])
    for t in range(N):
        part = slice(t, t + 1)
        found, _ = cache.score(HIDDEN[:, part], FOLLOWING[:, part], ONE_DOCUMENT[:, part])
        if t:
            expected = compute_expected(ONE_DOCUMENT, REACHES[0], 1, t)
            assert found[0, 1, 0] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_what_is_before_the_text_is_not_remembered() -> None:
    cache = NeuralCache(2, H, REACHES)
    cache.read(HIDDEN[:, :5], FOLLOWING[:, :5], np.full((2, 5), NO_DOCUMENT))
    _, is_empty = cache.score(HIDDEN[:, 5:7], FOLLOWING[:, 5:7], ONE_DOCUMENT[:, 5:7])
    assert is_empty.tolist() == [[True, False], [True, False]]


def test_products_that_would_overflow_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neural_cache, "BLOCK_SCORES", 1)
    cache = NeuralCache(2, H, [CacheReach(10, 1000.0)])
    found, is_empty = cache.score(HIDDEN, FOLLOWING, ONE_DOCUMENT)
    assert np.isfinite(found).all()
    assert not is_empty[:, 1:].any()


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_mixing_is_that_of_the_twin(weight: float) -> None:
    p_model, p_cache = np.array([0.2, 0.8]), np.array([0.9, 0.1])
    mixed = mix_with_cache(p_model, p_cache, weight)
    assert mixed.sum() == pytest.approx(1.0)
    found = mix(-np.log(p_model), p_cache, np.array([False, False]), weight)
    assert np.exp(-found) == pytest.approx(mixed)


def test_a_word_said_before_in_the_same_place_becomes_likely() -> None:
    """By hand: two pairs, of which the one that is alike has weight e^2 against e^0."""
    hidden = np.array([[[1.0, 0], [0, 1.0], [1.0, 0]]], np.float32)
    following = np.array([[3, 4, 3]], np.int32)
    found, _ = NeuralCache(1, 2, [CacheReach(2, 2.0)]).score(
        hidden, following, np.zeros((1, 3), np.int64)
    )
    assert found[0, 0, 2] == pytest.approx(np.e**2 / (np.e**2 + 1))
