"""How time grows with a size: a + b n^k, fitted to repeated timings, with an interval for k.

    time(n) = a + b n^k,  a >= 0, b > 0

a is what every size pays, k the exponent of what grows. The fit is by least squares over relative
errors, on the trimmed means of `timings`. The 95 % interval holds every k that a score test does
not refuse: for each candidate k the best a and b are found, and what then remains must be no
larger than the noise, known from the repeats of each size, makes it. Where a is 0 it is not counted
as fitted, which keeps the interval honest at that edge too. A curve that misses the sizes by more
than noise (a cache that overflows, say) widens the interval by as much.

Shapes: K candidates for k, S sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from llm_timecycle.profiling.analysis.estimators import (
    Floats,
    TypicalTimes,
    measure_misfit,
    score_candidates,
    summarize_timings,
)
from llm_timecycle.profiling.results import GrowthFit

FEWEST_SIZES = 4  # one more than a, b and k
HIGHEST_EXPONENT = 4.0
_FLAT_EXPONENT = 0.025  # below it a + b n^k is flat over every range that can be measured
_CANDIDATES = np.linspace(0.15, math.sqrt(HIGHEST_EXPONENT), 33) ** 2
_OFFSETS = np.concatenate([[0.0], np.geomspace(1e-5, 1.0, 90)])[:, np.newaxis]
_LOG_SHARES = np.linspace(-8.0, 8.0, 33)  # where the constant's share is looked for first


def fit_growth(timings_s: Mapping[float, Sequence[float]]) -> GrowthFit:
    """Fit a + b n^k to repeated timings.

    Args:
        timings_s: at each of at least four sizes n at least five timings, in seconds.

    Raises:
        UsageError: too few sizes or timings, or a number that is not above 0.

    >>> fit = fit_growth({n: [3 + 2 * n**2] * 5 for n in (1, 2, 4, 8, 16)})
    >>> round(fit.constant_s, 3), round(fit.coefficient_s, 3), round(fit.exponent, 3)
    (3.0, 2.0, 2.0)
    """
    return _fit(summarize_timings(timings_s, FEWEST_SIZES))


def predict_exponent(counts: Mapping[float, float]) -> float:
    """The exponent that counts of operations, instead of times, have by the same fit.

    Args:
        counts: the operations at each of at least four sizes.

    Raises:
        UsageError: fewer than four sizes, or a number that is not above 0.

    >>> round(predict_exponent({n: 7 * n for n in (8, 16, 32, 64)}), 3)
    1.0
    """
    return fit_growth({size: [count] * 5 for size, count in counts.items()}).exponent


def _fit(times: TypicalTimes) -> GrowthFit:
    log_sizes = np.log(times.sizes)
    centre = float(log_sizes.mean())
    curves = _Curves(times, log_sizes - centre)
    exponent = _find_best(curves)
    share, residuals = curves.fit_others(np.array([exponent]))
    misfit = measure_misfit(residuals[0], 3 if share[0] > 0 else 2, times)
    low, high = _find_interval(curves, exponent, misfit)
    logs = times.log_times - np.log(share[0] + np.exp(exponent * curves.log_sizes))
    scale_s = math.exp(float(logs.mean()))
    coefficient_s = scale_s / math.exp(exponent * centre)
    constant_s = scale_s * float(share[0])
    if exponent < _FLAT_EXPONENT:
        constant_s, coefficient_s = math.exp(float(times.log_times.mean())), 0.0
    exponent, low, high = (0.0 if end < _FLAT_EXPONENT else end for end in (exponent, low, high))
    return GrowthFit(
        constant_s=constant_s,
        coefficient_s=coefficient_s,
        exponent=exponent,
        exponent_low=low,
        exponent_high=high,
        misfit=misfit,
        sizes=tuple(times.sizes.tolist()),
        times_s=tuple(np.exp(times.log_times).tolist()),
    )


def _find_best(curves: _Curves) -> float:
    """The exponent with the least squares, by ever finer grids."""
    candidates = _CANDIDATES
    for _ in range(4):
        errors = (curves.fit_others(candidates)[1] ** 2).sum(axis=-1)
        best = int(errors.argmin())
        low, high = candidates[max(best - 1, 0)], candidates[min(best + 1, len(candidates) - 1)]
        candidates = np.linspace(low, high, 21)
    return float(candidates[10])


def _find_interval(curves: _Curves, exponent: float, misfit: float) -> tuple[float, float]:
    """The exponents below and above the best at which the score test first refuses.

    Farther off a second stretch may be accepted, where the constant changes to 0; the truth is
    hardly ever there, and taking it in would make the interval hold it too often.
    """
    room = np.array([exponent - _CANDIDATES[0], HIGHEST_EXPONENT - exponent])
    inside, outside = np.zeros(2), np.maximum(room, 0.0)
    for grid in (_OFFSETS, np.linspace(0, 1, 33)[:, np.newaxis]):
        # Distances from the best exponent, downward and upward in one go.
        steps = inside + (outside - inside) * grid
        candidates = exponent + np.array([-1, 1]) * steps
        is_refused = np.abs(curves.score(candidates.ravel())).reshape(steps.shape) > misfit
        is_refused[0] = False  # the best fit, however narrow the interval around it
        first = np.where(is_refused.any(axis=0), is_refused.argmax(axis=0), len(grid) - 1)
        ends = np.arange(2)
        is_open = ~is_refused[first, ends]  # nothing is refused up to the edge of the range
        inside, outside = steps[first - ~is_open, ends], steps[first, ends]
    low, high = exponent - outside[0], exponent + outside[1]
    return float(low), float(high)


class _Curves:
    """The curves c + n^k, n in units of its middle size, against the typical times."""

    def __init__(self, times: TypicalTimes, log_sizes: Floats) -> None:
        self.times = times
        self.log_sizes = log_sizes

    def score(self, exponents: Floats) -> Floats:
        """The score of each exponent (K,); see `score_candidates`."""
        constants, residuals = self.fit_others(exponents)
        powers = np.exp(exponents[:, np.newaxis] * self.log_sizes)
        curves = constants[:, np.newaxis] + powers
        slopes = _centre(powers * self.log_sizes / curves)
        # What the constant can imitate says nothing of k; at 0 it is at its edge, and not fitted.
        constant_slopes = _centre(1 / curves)
        squares = np.maximum((constant_slopes**2).sum(axis=-1), 1e-300)
        shares = (slopes * constant_slopes).sum(axis=-1) / squares * (constants > 0)
        slopes -= shares[:, np.newaxis] * constant_slopes
        return score_candidates(slopes, residuals, self.times)

    def fit_others(self, exponents: Floats) -> tuple[Floats, Floats]:
        """The best c = a / b >= 0 for each exponent (K,), and what it leaves (K, S).

        The scale b needs no search: it takes the mean off the residuals.
        """
        powers = np.exp(exponents[:, np.newaxis] * self.log_sizes)

        def compute_residuals(constants: Floats) -> Floats:
            return _centre(self.times.log_times - np.log(constants[..., np.newaxis] + powers))

        def measure(log_constants: Floats) -> Floats:
            errors: Floats = (compute_residuals(np.exp(log_constants)) ** 2).sum(axis=-1)
            return errors

        grid = np.broadcast_to(_LOG_SHARES[:, np.newaxis], (len(_LOG_SHARES), len(exponents)))
        best = measure(grid).argmin(axis=0)
        low = _LOG_SHARES[np.maximum(best - 1, 0)] - 4.0 * (best == 0)
        high = _LOG_SHARES[np.minimum(best + 1, len(_LOG_SHARES) - 1)]
        constants = np.exp(_minimize(measure, low, high))
        without, errors = compute_residuals(np.zeros_like(constants)), measure(np.log(constants))
        constants[(without**2).sum(axis=-1) <= errors * (1 + 1e-9)] = 0.0
        return constants, compute_residuals(constants)


def _centre(values: Floats) -> Floats:
    """Values (K, S) less the mean of each row."""
    centred: Floats = values - values.mean(axis=-1, keepdims=True)
    return centred


def _minimize(measure: Callable[[Floats], Floats], low: Floats, high: Floats) -> Floats:
    """Where `measure` (G, K) -> (G, K) is least between low and high (K,), by ever finer grids."""
    for _ in range(5):
        grid = np.linspace(low, high, 13)
        best = measure(grid).argmin(axis=0)
        width = (high - low) / 12
        middle = low + best * width
        low, high = middle - width, middle + width
    return (low + high) / 2
