"""Draws: equal to a scalar twin, as likely as their weights, hardly changed by rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.generation.sampling.gumbel import (
    EXACT_AT_MOST,
    draw_positions,
    draw_second,
    hash_ids,
)

INF = math.inf


def mix(z: int) -> int:
    """lowbias32, as its author gives it."""
    z = ((z ^ z >> 16) * 0x7FEB352D) % 2**32
    z = ((z ^ z >> 15) * 0x846CA68B) % 2**32
    return z ^ z >> 16


def hash_one(token: int, u: float) -> int:
    bits = int(u * 2**53)
    return mix((token * (bits >> 31 | 1) * 0x9E3779B1 + bits) % 2**32)


def draw_one(weights: list[float], u: float, ids: list[int]) -> int:
    """The position whose exponential variable, divided by its weight, is the smallest."""
    arrivals = {
        position: -math.log1p(-(hash_one(token, u) + 0.5) / 2**32) / weight
        for position, (token, weight) in enumerate(zip(ids, weights, strict=True))
        if weight > 0
    }
    return min(arrivals, key=lambda position: arrivals[position])


def draw_log_weights(seed: int, N: int) -> np.ndarray:
    """One row, with a few tokens removed."""
    rng = np.random.default_rng(seed)
    log_weights = rng.normal(scale=rng.uniform(0.1, 5), size=(1, N))
    log_weights[rng.random((1, N)) < 0.1] = -INF
    log_weights[0, rng.integers(N)] = 2.0
    return log_weights


def test_the_hash_is_its_scalar_twin() -> None:
    rng = np.random.default_rng(1)
    ids, uniforms = rng.integers(0, 50_000, (4, 30)), np.array([0.0, 1.0 - 2**-53, *rng.random(2)])
    expected = [
        [hash_one(n, u) for n in row] for row, u in zip(ids.tolist(), uniforms, strict=True)
    ]
    assert hash_ids(ids, uniforms).tolist() == expected
    assert hash_ids(ids[:1], uniforms)[0].tolist() == expected[0]


@pytest.mark.parametrize("N", [1, 2, 40, EXACT_AT_MOST, EXACT_AT_MOST + 1, 5000])
@given(seed=st.integers(0, 2**32 - 1), u=st.floats(0.0, 1.0, exclude_max=True))
@settings(max_examples=20)
def test_the_first_to_arrive_is_drawn(N: int, seed: int, u: float) -> None:
    log_weights, uniforms = draw_log_weights(seed, N), np.array([u])
    ids = np.random.default_rng(seed).permutation(10_000)[:N]
    expected = draw_one(np.exp(log_weights[0]).tolist(), u, ids.tolist())
    assert draw_positions(log_weights, uniforms, ids[np.newaxis])[0] == expected
    assert draw_positions(3 * log_weights, uniforms, ids[np.newaxis], 3.0)[0] == expected


@pytest.mark.parametrize("N", [50, 2000])
def test_a_row_is_drawn_the_same_alone_and_with_others(N: int) -> None:
    rng = np.random.default_rng(N)
    log_weights = np.concatenate([draw_log_weights(seed, N) for seed in range(5)])
    ids, u = rng.integers(0, 9000, (5, N)), rng.random(5)
    alone = [draw_positions(log_weights[[n]], u[[n]], ids[[n]])[0] for n in range(5)]
    assert draw_positions(log_weights, u, ids).tolist() == alone


@pytest.mark.parametrize("N", [12, 1200])
def test_draws_are_as_likely_as_their_weights(N: int) -> None:
    # Twelve groups with weights 1 to 12; 99.9 % of honest draws stay below 31.264.
    log_weights = np.repeat(np.log(np.arange(1.0, 13.0)), N // 12)[np.newaxis]
    uniforms = np.random.default_rng(2).random((80, 500 if N == 12 else 125))
    rows = np.repeat(log_weights, uniforms.shape[1], axis=0)
    drawn = np.concatenate([draw_positions(rows, some) for some in uniforms])
    counts = np.bincount(drawn // (N // 12), minlength=12)
    expected = uniforms.size * np.arange(1, 13) / 78
    assert np.sum((counts - expected) ** 2 / expected) < 31.264


def test_neighbouring_ids_are_drawn_independently_of_each_other() -> None:
    uniforms = np.random.default_rng(3).random(20_000)
    p = hash_ids(np.arange(40)[np.newaxis], uniforms) / 2.0**32
    correlations = np.corrcoef(p, rowvar=False) - np.eye(40)
    # 780 pairs, each with a standard deviation of 0.0071: beyond 4.9 of them once in 1,300 tries
    assert np.abs(correlations).max() < 0.035
    assert np.abs(p.mean(axis=0) - 0.5).max() < 5 * 0.2887 / math.sqrt(20_000)


@pytest.mark.parametrize("N", [30, 3000])
def test_a_removed_token_is_never_drawn(N: int) -> None:
    log_weights = np.full((1, N), -INF)
    log_weights[0, [3, 20]] = -700.0, -701.0
    drawn = {int(draw_positions(log_weights, np.array([u / 100]))[0]) for u in range(100)}
    assert drawn == {3, 20}


def test_rounding_hardly_ever_changes_a_draw() -> None:
    """By float32 rounding of 3,000 logits, 1 draw in a million is expected to change."""
    rng = np.random.default_rng(4)
    logits = rng.normal(scale=2, size=(20_000 // 4, 3000))
    rounded = logits + rng.normal(scale=3e-7, size=logits.shape)
    uniforms = rng.random(len(logits))
    changed = draw_positions(logits, uniforms) != draw_positions(rounded, uniforms)
    assert np.count_nonzero(changed) <= 1


def test_the_second_number_of_a_draw_is_uniform_whatever_is_drawn() -> None:
    uniforms = np.random.default_rng(3).random(20_000)
    second = draw_second(uniforms)
    assert ((second > 0.0) & (second < 1.0)).all()
    drawn = draw_positions(np.zeros((len(uniforms), 4)), uniforms)
    counts = np.histogram2d(drawn, second, bins=(4, 5))[0]
    assert np.sum((counts - 1000.0) ** 2 / 1000.0) < 43.82  # 99.9 %, 19 degrees of freedom
