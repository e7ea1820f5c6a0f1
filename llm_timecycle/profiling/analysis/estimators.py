"""Repeated timings at several sizes: a typical time for each, its error, and tests of a curve.

A timing is the true time multiplied by noise, and now and then slowed by another program. So the
logarithms of a size's timings are taken, the highest and the lowest fifth are trimmed, and the rest
is averaged: the trimmed mean, whose variance comes from the winsorized timings (a trimmed timing
counts as the nearest that is kept). From ten timings on, outliers beyond five standard deviations
are dropped first. Sizes may differ in their noise.

Quantiles of Student's t and Fisher's F, whose degrees of freedom need not be whole numbers:

    x = d1 F / (d1 F + d2) has a beta distribution with parameters d1 / 2 and d2 / 2
    t^2 with d degrees of freedom is F with (1, d)

Sources: Tukey and McLaughlin 1963, "Less vulnerable confidence and significance procedures for
location based on a single sample"; Yuen 1974, "The two-sample trimmed t for unequal population
variances"; Welch 1947, "The generalization of 'Student's' problem", for the degrees of freedom;
Abramowitz and Stegun 1964, "Handbook of Mathematical Functions", 26.6.2, 26.7.1, for quantiles.
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
FEWEST_REPEATS = 5  # the fewest of which a fifth can be trimmed at either end
TRIMMED_SHARE = 0.2
_ENOUGH_FOR_OUTLIERS = 10
_OUTLIER_DISTANCE = 5.0  # in standard deviations of the noise
_NORMAL_DEVIATION = 1.4826  # of normal noise, in median distances from the median
_MISFIT_PROBABILITY = 0.99
_FINEST_ERROR = 1e-4  # relative; no clock and no machine is steadier
_LARGEST_FREEDOM = 1e6  # beyond it t is normal to six digits
_GRID = 100_001  # points at which a density is known
_FREEDOMS = (0.5, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 15, 30, 100, 1e4)


@dataclass(frozen=True)
class TypicalTimes:
    """The typical time of each size and its error; all arrays (S,), sizes ascending."""

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
            sizes, so that a slow moment falls on every size alike.
        fewest_sizes: how many sizes there must be.

    Raises:
        UsageError: too few sizes or timings, or a number that is not above 0.

    >>> times = summarize_timings({2: [1, 1, 1, 1, 9], 1: [1, 1, 1, 1, 1]}, fewest_sizes=2)
    >>> times.sizes.tolist(), times.log_times.tolist()  # 9 is trimmed
    ([1.0, 2.0], [0.0, 0.0])
    """
    if len(timings_s) < fewest_sizes:
        raise UsageError(
            f"timings: expected at least {fewest_sizes} sizes, received {len(timings_s)}. "
            "Measure more sizes."
        )
    for size, timings in timings_s.items():
        if len(timings) < FEWEST_REPEATS:
            raise UsageError(
                f"timings: expected at least {FEWEST_REPEATS} at each size, "
                f"received {len(timings)} at size {size:g}. Repeat the measurement more often."
            )
        if not all(0 < number < np.inf for number in (size, *timings)):
            raise UsageError(f"timings: expected a size and seconds above 0 at size {size:g}.")
    sizes = sorted(timings_s)
    trimmed = (_trim(np.log(np.sort(np.asarray(timings_s[n], float)))) for n in sizes)
    columns = zip(*trimmed, strict=True)
    return TypicalTimes(np.asarray(sizes, float), *(np.asarray(column) for column in columns))


def _trim(logs: Floats) -> tuple[float, float, float]:
    """The trimmed mean of ascending logarithms (R,), its variance, and the degrees of freedom."""
    logs = _drop_outliers(logs)
    R = len(logs)
    trimmed = int(TRIMMED_SHARE * R)
    kept = R - 2 * trimmed
    winsorized = np.clip(logs, logs[trimmed], logs[R - 1 - trimmed])
    variance = winsorized.var(ddof=1) * (R - 1) / (kept * (kept - 1))
    return float(logs[trimmed : R - trimmed].mean()), float(variance), kept - 1.0


def _drop_outliers(logs: Floats) -> Floats:
    """Without timings too far off to be noise, where there are enough to estimate the noise.

    Nearly all outliers are slow. Trimming both ends alike would let them pull the mean up, and
    farther at noisy sizes than at quiet ones, which looks like growth.
    """
    distances = np.abs(logs - np.median(logs))
    noise = _NORMAL_DEVIATION * float(np.median(distances))
    if len(logs) < _ENOUGH_FOR_OUTLIERS or noise == 0.0:
        return logs
    near: Floats = logs[distances <= _OUTLIER_DISTANCE * noise]
    return near


def centre(values: Floats) -> Floats:
    """Values (K, S) less the mean of each row, which a factor of the curve can take off."""
    centred: Floats = values - values.mean(axis=-1, keepdims=True)
    return centred


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
    # The t-quantile, from a table that is straight in 1 / freedom.
    freedoms = np.maximum(variances**2 / squares, _FREEDOMS[0])
    limits = np.interp(-1 / freedoms, *_make_t_table())
    sums = (slopes * residuals).sum(axis=-1)
    scores: Floats = sums / np.maximum(np.sqrt(variances) * limits, 1e-150)
    return scores


def measure_misfit(residuals: Floats, fitted: int, times: TypicalTimes) -> float:
    """By how much more the curve misses the sizes than noise explains: 1 where noise may suffice.

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
    # Only the spare sizes tell how far a misfit spreads; few of them tell little.
    normal = compute_t_quantile((1 + CONFIDENCE) / 2, 1e6)
    return float(np.sqrt(ratio)) * compute_t_quantile((1 + CONFIDENCE) / 2, spare) / normal


@functools.cache
def _make_t_table() -> tuple[Floats, Floats]:
    limits = [compute_t_quantile((1 + CONFIDENCE) / 2, freedom) for freedom in _FREEDOMS]
    return -1 / np.asarray(_FREEDOMS, float), np.asarray(limits)


def compute_t_quantile(probability: float, freedom: float) -> float:
    """The t that a Student's t with `freedom` degrees of freedom exceeds with 1 - `probability`.

    Args:
        probability: from 0.5 up to, and without, 1. freedom: above 0.

    >>> round(compute_t_quantile(0.975, 10), 3)
    2.228
    """
    return math.sqrt(compute_f_quantile(2 * probability - 1, 1, freedom))


@functools.lru_cache(maxsize=4096)
def compute_f_quantile(probability: float, freedom_1: float, freedom_2: float) -> float:
    """The f that a Fisher's F with these degrees of freedom stays below with `probability`.

    Args:
        probability: from 0 up to, and without, 1.
        freedom_1, freedom_2: of the variance above and the one below the line, each above 0.

    >>> round(compute_f_quantile(0.95, 3, 20), 3)
    3.098
    """
    freedom_1, freedom_2 = min(freedom_1, _LARGEST_FREEDOM), min(freedom_2, _LARGEST_FREEDOM)
    a, b = freedom_1 / 2, freedom_2 / 2
    # The density of u = log(x / (1 - x)) is smooth: it falls as exp(a u) and exp(-b u).
    spread = 12 * math.sqrt(1 / a + 1 / b)
    u = math.log(a / b) + np.linspace(-spread - 40 / a, spread + 40 / b, _GRID)
    logs = -a * np.logaddexp(0, -u) - b * np.logaddexp(0, u)
    density = np.exp(logs - logs.max())
    below = np.cumsum(density) - density / 2
    return freedom_2 / freedom_1 * math.exp(np.interp(probability * density.sum(), below, u))
