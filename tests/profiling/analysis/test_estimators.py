"""Repeated timings made into typical times with known errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.estimators import (
    TypicalTimes,
    compute_f_quantile,
    compute_t_quantile,
    measure_misfit,
    score_candidates,
    summarize_timings,
)


def make_times(variances: list[float], freedoms: list[float]) -> TypicalTimes:
    sizes = np.arange(1.0, len(variances) + 1)
    return TypicalTimes(sizes, np.zeros(len(sizes)), np.array(variances), np.array(freedoms))


def test_a_trimmed_mean_by_hand() -> None:
    # Logarithms 0, 1, 2, 3, 100: one is put aside at either end, which leaves 1, 2, 3; winsorized
    # they are 1, 1, 2, 3, 3, whose squares about 2 add up to 4.
    logs = [100.0, 2.0, 0.0, 3.0, 1.0]
    times = summarize_timings({8: [math.exp(x) for x in logs]}, fewest_sizes=1)
    assert times.log_times.tolist() == pytest.approx([2.0])
    assert times.variances.tolist() == pytest.approx([4 / (3 * 2)])
    assert times.freedoms.tolist() == [2.0]


def test_ten_timings_lose_two_at_either_end() -> None:
    times = summarize_timings({1: [math.exp(x) for x in range(10)]}, fewest_sizes=1)
    assert times.freedoms.tolist() == [5.0]
    # 2, 2, 2, 3, 4, 5, 6, 7, 7, 7 about 4.5: 2 (3 x 6.25 + 2.25 + 0.25) = 42.5
    assert times.variances.tolist() == pytest.approx([42.5 / (6 * 5)])


def test_of_ten_timings_one_too_far_off_to_be_noise_is_dropped() -> None:
    # The distances from the median 4.5 are 0.5, 0.5, 1.5, 1.5, 2.5, 2.5, 3.5, 3.5, 4.5 and that of
    # the last; their median 2.5 stands for a noise of 3.71, of which 18.5 is five.
    logs = [*map(float, range(9))]
    near = summarize_timings({1: [math.exp(x) for x in [*logs, 4.5 + 18.4]]}, fewest_sizes=1)
    far = summarize_timings({1: [math.exp(x) for x in [*logs, 4.5 + 18.6]]}, fewest_sizes=1)
    assert near.freedoms.tolist() == [5.0]
    assert near.log_times.tolist() == pytest.approx([4.5])  # of 2 to 7
    assert far.freedoms.tolist() == [6.0]  # of nine, one is put aside at either end
    assert far.log_times.tolist() == pytest.approx([4.0])  # of 1 to 7


def test_sizes_come_in_order_and_slower_machines_change_no_error() -> None:
    timings = {4: [1.0, 1.1, 1.2, 1.3, 1.4], 2: [1.0, 1.3, 1.2, 1.5, 1.9]}
    times = summarize_timings(timings, fewest_sizes=2)
    assert times.sizes.tolist() == [2.0, 4.0]
    slower = summarize_timings({n: [7 * t for t in ts] for n, ts in timings.items()}, 2)
    assert slower.variances == pytest.approx(times.variances)
    assert slower.log_times == pytest.approx(times.log_times + math.log(7))


def test_a_score_by_hand() -> None:
    # sum s e = 3, sum s^2 v = 4; freedom = 16 / (4 / 8 + 4 / 8) = 16, whose t is 2.120 (table).
    times = make_times([2.0, 2.0], [8.0, 8.0])
    score = score_candidates(np.array([[1.0, -1.0]]), np.array([[1.0, -2.0]]), times)
    assert score == pytest.approx([1.5 / 2.120], rel=2e-3)


def test_without_noise_a_score_is_clear() -> None:
    times = make_times([0.0, 0.0], [4.0, 4.0])
    slopes, residuals = np.array([[1.0, -1.0]] * 2), np.array([[0.0, 0.0], [1e-9, 0.0]])
    scores = score_candidates(slopes, residuals, times)
    assert scores[0] == 0
    assert scores[1] > 1e6


def test_a_misfit_is_seen_and_noise_is_not() -> None:
    times = make_times([1e-4] * 5, [10.0] * 5)
    noise = np.array([1.0, -1.0, 0.5, -1.0, 0.5]) * 1e-2
    assert measure_misfit(noise, 3, times) == 1.0
    # 10 times as much: the mean square over 2 spare sizes is 1.75e-2 against 1e-4, and the t of 2
    # degrees of freedom (4.303) stands for the normal 1.960.
    assert measure_misfit(10 * noise, 3, times) == pytest.approx(
        math.sqrt(175) * 4.303 / 1.960, rel=1e-3
    )
    assert measure_misfit(10 * noise[:3], 3, make_times([1e-4] * 3, [10.0] * 3)) == 1.0


@pytest.mark.parametrize(
    ("timings", "message"),
    [
        ({1: [1.0] * 5}, "at least 2 sizes, received 1"),
        ({1: [1.0] * 5, 2: [1.0] * 4}, "at least 5 at each size, received 4 at size 2"),
        ({1: [1.0] * 5, 0: [1.0] * 5}, "a size and seconds above 0 at size 0"),
        ({1: [1.0] * 5, 2: [1.0, 1.0, 0.0, 1.0, 1.0]}, "seconds above 0 at size 2"),
        ({1: [1.0] * 5, 2: [1.0, 1.0, math.nan, 1.0, 1.0]}, "seconds above 0 at size 2"),
    ],
)
def test_what_cannot_be_is_refused(timings: dict[float, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        summarize_timings(timings, fewest_sizes=2)


@pytest.mark.parametrize(
    ("probability", "freedom", "t"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 5, 2.571),
        (0.975, 30, 2.042),
        (0.95, 10, 1.812),
        (0.995, 3, 5.841),
        (0.975, 1e9, 1.960),
    ],
)
def test_t_is_what_the_tables_say(probability: float, freedom: float, t: float) -> None:
    assert compute_t_quantile(probability, freedom) == pytest.approx(t, abs=5e-4)


@pytest.mark.parametrize(
    ("probability", "freedoms", "f"),
    [(0.95, (1, 1), 161.448), (0.99, (3, 20), 4.938), (0.99, (4, 24), 4.218), (0.5, (7, 7), 1.0)],
)
def test_f_is_what_the_tables_say(
    probability: float, freedoms: tuple[float, float], f: float
) -> None:
    assert compute_f_quantile(probability, *freedoms) == pytest.approx(f, abs=5e-4)


def test_cauchy_and_half_freedoms() -> None:
    # One degree of freedom is the Cauchy distribution, whose quantile is tan(pi (p - 1/2)).
    assert compute_t_quantile(0.9, 1) == pytest.approx(math.tan(math.pi * 0.4))
    # Two have the closed form (2p - 1) / sqrt(2 p (1 - p)).
    assert compute_t_quantile(0.9, 2) == pytest.approx(0.8 / math.sqrt(0.18))
    assert compute_t_quantile(0.9, 2) < compute_t_quantile(0.9, 1.5) < compute_t_quantile(0.9, 1)


def test_two_degrees_of_freedom_have_a_closed_form() -> None:
    # P(F > f) = (1 + 2 f / d)^(-d / 2) for (2, d).
    for freedom in (0.5, 1, 3, 40, 5_000):
        f = freedom / 2 * (0.01 ** (-2 / freedom) - 1)
        assert compute_f_quantile(0.99, 2, freedom) == pytest.approx(f, rel=1e-5)


@given(p=st.floats(0.01, 0.99), d1=st.floats(0.5, 1e4), d2=st.floats(0.5, 1e4))
@settings(max_examples=50)
def test_the_quantiles_of_a_ratio_and_its_inverse_agree(p: float, d1: float, d2: float) -> None:
    product = compute_f_quantile(p, d1, d2) * compute_f_quantile(1 - p, d2, d1)
    assert product == pytest.approx(1, rel=1e-4)
