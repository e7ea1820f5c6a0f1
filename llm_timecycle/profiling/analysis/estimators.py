"""Repeated timings at several sizes, each size made into one typical time whose error is known.

A timing is a true time multiplied by noise, and now and then by something else that ran. So the
logarithms of a size's timings are taken, the highest and the lowest fifth are put aside, and the
rest is averaged: the trimmed mean, whose variance comes from the winsorized timings (those put
aside count as the nearest that stayed). From ten timings on, those farther off than five standard
deviations are dropped first. Sizes may differ in their noise.

Sources: Tukey and McLaughlin 1963, "Less vulnerable confidence and significance procedures for
location based on a single sample"; Yuen 1974, "The two-sample trimmed t for unequal population
variances"; Welch 1947, "The generalization of 'Student's' problem", for the degrees of freedom.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_timecycle.errors import UsageError

Floats = NDArray[np.floating[Any]]

CONFIDENCE = 0.95
FEWEST_REPEATS = 5  # the first number of which a fifth can be put aside at either end
TRIMMED_SHARE = 0.2
_ENOUGH_TO_KNOW_NOISE = 10
_STRANGE_DISTANCE = 5.0  # in standard deviations of the noise
_NORMAL_DEVIATION = 1.4826  # of normal noise, in median distances from the median
_MISFIT_PROBABILITY = 0.99
_FINEST_ERROR = 1e-4  # relative; no clock and no machine is steadier
_SMALLEST = 1e-300  # stands for a zero that is divided by
_LARGEST_FREEDOM = 1e6  # beyond it t is normal to six digits, and the fraction converges slowly
_FREEDOMS = (0.5, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 15, 30, 100, 1e4)


@dataclass(frozen=True)
class TypicalTimes:
    """What repeated timings say of each size; all arrays (S,), sizes ascending."""

    sizes: Floats
    log_times: Floats
    """The trimmed mean of the logarithms of the seconds."""
    variances: Floats
    """The variance of `log_times`, which is the square of its relative error."""
    freedoms: Floats
    """The degrees of freedom of `variances`."""


def summarize_timings(
    timings_s: Mapping[float, Sequence[float]], fewest_sizes: int
) -> TypicalTimes:
    """One typical time for each size, with its variance.

    Args:
        timings_s: seconds, at least five at each size; sizes above 0. Take them in rounds over all
            sizes, so that a slow minute falls on every size alike.
        fewest_sizes: how many sizes there must be.

    Raises:
        UsageError: too few sizes or timings, or a number that is not above 0.

    >>> times = summarize_timings({2: [1, 1, 1, 1, 9], 1: [1, 1, 1, 1, 1]}, fewest_sizes=2)
    >>> times.sizes.tolist(), times.log_times.tolist()  # 9 is the fifth that is put aside
    ([1.0, 2.0], [0.0, 0.0])
    """
    if len(timings_s) < fewest_sizes:
        raise UsageError(
            f"timings: expected at least {fewest_sizes} sizes, received {len(timings_s)}. "
            "Measure more sizes."
        )
    for size, timings in timings_s.items():
        if not 0 < size < np.inf:
            raise UsageError(f"timings: expected sizes above 0, received {size}.")
        if len(timings) < FEWEST_REPEATS:
            raise UsageError(
                f"timings: expected at least {FEWEST_REPEATS} at each size, "
                f"received {len(timings)} at size {size:g}. Repeat the measurement more often."
            )
        if not all(0 < timing_s < np.inf for timing_s in timings):
            raise UsageError(f"timings: expected seconds above 0 at size {size:g}.")
    sizes = sorted(timings_s)
    trimmed = (_trim(np.log(np.sort(np.asarray(timings_s[n], float)))) for n in sizes)
    columns = zip(*trimmed, strict=True)
    return TypicalTimes(np.asarray(sizes, float), *(np.asarray(column) for column in columns))


def _trim(logs: Floats) -> tuple[float, float, float]:
    """The trimmed mean of ascending logarithms (R,), its variance, and the degrees of freedom."""
    logs = _drop_strangers(logs)
    R = len(logs)
    aside = int(TRIMMED_SHARE * R)
    kept = R - 2 * aside
    winsorized = np.clip(logs, logs[aside], logs[R - 1 - aside])
    variance = winsorized.var(ddof=1) * (R - 1) / (kept * (kept - 1))
    return float(logs[aside : R - aside].mean()), float(variance), kept - 1.0


def _drop_strangers(logs: Floats) -> Floats:
    """Without the timings that are too far off to be noise, where there are enough to know noise.

    Nearly all of them are slow: left among those that are trimmed alike at both ends, they would
    pull the mean up, and farther at noisy sizes than at quiet ones, which looks like growth.
    """
    distances = np.abs(logs - np.median(logs))
    noise = _NORMAL_DEVIATION * float(np.median(distances))
    if len(logs) < _ENOUGH_TO_KNOW_NOISE or noise == 0.0:
        return logs
    near: Floats = logs[distances <= _STRANGE_DISTANCE * noise]
    return near


def score_candidates(slopes: Floats, residuals: Floats, times: TypicalTimes) -> Floats:
    """How far each candidate value of a parameter is from fitting, 0 at the best fit.

        score = sum_n s_n e_n / sqrt(sum_n s_n^2 v_n),  v_n the variance at size n

    divided by the t-quantile for the degrees of freedom that Welch and Satterthwaite give the sum,
    so that a true candidate lies within -1 to 1 in 95 of 100 experiments. Everything else that is
    fitted must be at its best for the candidate, and taken out of the slopes.

    Args:
        slopes: s, d log(curve) / d parameter (K, S) for K candidates and S sizes.
        residuals: e, log time - log(curve) (K, S).

    Returns:
        The scores (K,); positive where the candidate is too low. 0 where nothing varies at all.

    Source: Rao 1948, "Large sample tests of statistical hypotheses", for the score test.
    """
    parts = slopes**2 * times.variances
    variances = parts.sum(axis=-1)
    squares = np.maximum((parts**2 / times.freedoms).sum(axis=-1), 1e-300)
    limits = _look_up_t(variances**2 / squares)
    sums = (slopes * residuals).sum(axis=-1)
    scores: Floats = sums / np.maximum(np.sqrt(variances) * limits, 1e-150)
    return scores


def measure_misfit(residuals: Floats, fitted: int, times: TypicalTimes) -> float:
    """By how much the curve misses the sizes more than noise explains: 1 where noise may be all.

    Where the residuals are larger than noise makes them in 99 of 100 experiments, the ratio of
    their root mean square to that of the noise; an interval should be widened by it.

    Args:
        residuals: of the best fit (S,). fitted: how many parameters were fitted.
    """
    spare = len(residuals) - fitted
    mean_variance = float(times.variances.mean())
    mean_square = float((residuals**2).sum()) / spare if spare > 0 else 0.0
    if mean_square < _FINEST_ERROR**2:
        return 1.0
    ratio = mean_square / max(mean_variance, _FINEST_ERROR**2)
    squares = max(float((times.variances**2 / times.freedoms).sum()), 1e-300)
    freedom = max(float(times.variances.sum()) ** 2 / squares, 1.0)
    limit = compute_f_quantile(_MISFIT_PROBABILITY, spare, round(freedom, 1))
    if ratio <= limit:
        return 1.0
    # The spare sizes are what the spread of a misfit is now known from; few of them tell little.
    normal = compute_t_quantile((1 + CONFIDENCE) / 2, 1e6)
    return float(np.sqrt(ratio)) * compute_t_quantile((1 + CONFIDENCE) / 2, spare) / normal


def _look_up_t(freedoms: Floats) -> Floats:
    """The t-quantile of the two-sided interval, from a table that is straight in 1 / freedom."""
    table = _make_t_table()
    limits: Floats = np.interp(-1 / np.maximum(freedoms, _FREEDOMS[0]), *table)
    return limits


@functools.cache
def _make_t_table() -> tuple[Floats, Floats]:
    limits = [compute_t_quantile((1 + CONFIDENCE) / 2, freedom) for freedom in _FREEDOMS]
    return -1 / np.asarray(_FREEDOMS, float), np.asarray(limits)


@functools.lru_cache(maxsize=4096)
def compute_t_quantile(probability: float, freedom: float) -> float:
    """The t that a Student's t with `freedom` degrees of freedom exceeds with 1 - `probability`.

    Args:
        probability: from 0.5 up to, and without, 1. freedom: above 0.

    Raises:
        UsageError: an argument is outside its range.

    >>> round(compute_t_quantile(0.975, 10), 3)
    2.228
    """
    if not 0.5 <= probability < 1:
        raise UsageError(f"probability: expected 0.5 or more and below 1, received {probability}.")
    return math.sqrt(compute_f_quantile(2 * probability - 1, 1, freedom))


@functools.lru_cache(maxsize=4096)
def compute_f_quantile(probability: float, freedom_1: float, freedom_2: float) -> float:
    """The f that a Fisher's F with these degrees of freedom stays below with `probability`.

    Args:
        probability: from 0 up to, and without, 1.
        freedom_1, freedom_2: of the variance above and the one below the line, each above 0.

    Raises:
        UsageError: an argument is outside its range.

    >>> round(compute_f_quantile(0.95, 3, 20), 3)
    3.098
    """
    if not 0 <= probability < 1:
        raise UsageError(f"probability: expected 0 or more and below 1, received {probability}.")
    if not (freedom_1 > 0 and freedom_2 > 0):
        raise UsageError(
            f"degrees of freedom: expected numbers above 0, received {freedom_1} and {freedom_2}."
        )
    freedom_1, freedom_2 = min(freedom_1, _LARGEST_FREEDOM), min(freedom_2, _LARGEST_FREEDOM)
    low, high = 0.0, 1.0
    for _ in range(80):  # halved until nothing is left between the two
        middle = (low + high) / 2
        if compute_regularized_beta(middle, freedom_1 / 2, freedom_2 / 2) < probability:
            low = middle
        else:
            high = middle
    return freedom_2 * low / (freedom_1 * (1 - low)) if low < 1 else math.inf


def compute_regularized_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b): the share of a beta distribution with parameters a, b > 0 that lies below x.

    >>> compute_regularized_beta(0.25, 1, 1)  # the uniform distribution
    0.25
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _expand_fraction(x, a, b) / a
    return 1 - math.exp(log_front) * _expand_fraction(1 - x, b, a) / b


def _expand_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method.

    Source: Press et al. 2007, "Numerical Recipes", sections 5.2 and 6.4.
    """
    c, d = 1.0, 1.0 / _avoid_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _avoid_zero(1 + term * d)
            c = _avoid_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return value


def _avoid_zero(x: float) -> float:
    return x if abs(x) > _SMALLEST else _SMALLEST
