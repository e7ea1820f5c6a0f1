"""How time grows with a size: a + b n^k, fitted to repeated timings, with an interval for k.

    time(n) = a + b n^k,  a >= 0, b > 0

a is the fixed cost that every size pays, k the exponent of what grows. The fit minimises squared
relative errors of the trimmed means (`estimators`). The 95 % interval holds every k that a score
test does not reject: for each candidate k the best a and b are found, and what remains must be no
larger than the noise, known from the repeats of each size, makes it. Where a is 0 it does not count
as fitted, which keeps the interval honest at that edge too. A curve that misses the sizes by more
than noise (a cache that overflows, say) widens the interval by as much.

The same fit over the FLOPs of each size says what growth to expect; `explain_growth` puts the two
side by side in one sentence.

Shapes: K candidates for k, S sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from llm_timecycle.profiling.analysis.estimators import (
    FEWEST_REPEATS,
    Floats,
    TypicalTimes,
    centre,
    measure_misfit,
    score_candidates,
    summarize_timings,
)
from llm_timecycle.profiling.format import format_digits, format_duration
from llm_timecycle.profiling.results import GrowthFit

FEWEST_SIZES = 4  # one more than a, b and k
HIGHEST_EXPONENT = 4.0
_WORTH_SAYING = 5  # per cent of the smallest size's time: a smaller fixed cost explains nothing
_GROWTH_RATIO = 1.05  # largest over smallest: below it, time has not grown
_CLEAR_RATIO = 1.1  # times for a FLOP that differ by less are the same
_FLAT_EXPONENT = 0.025  # below it a + b n^k is flat over every range that can be measured
_CANDIDATES = np.linspace(0.15, math.sqrt(HIGHEST_EXPONENT), 33) ** 2
_OFFSETS = np.concatenate([[0.0], np.geomspace(1e-5, 1.0, 90)])[:, np.newaxis]
_LOG_SHARES = (-12.0, 8.0)  # between which the constant's share is looked for


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
    times = summarize_timings(timings_s, FEWEST_SIZES)
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


def fit_counts(counts: Mapping[float, float]) -> GrowthFit:
    """The same fit to counts of FLOPs in place of times: the growth to expect.

    Args:
        counts: FLOPs at each of at least four sizes.

    Raises:
        UsageError: fewer than four sizes, or a number that is not above 0.

    >>> round(fit_counts({n: 5 + 7 * n for n in (8, 16, 32, 64)}).exponent, 3)
    1.0
    """
    return fit_growth({size: [count] * FEWEST_REPEATS for size, count in counts.items()})


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
    """The exponents below and above the best at which the score test first rejects.

    Farther off a second stretch may be accepted, where the constant changes to 0; the truth is
    hardly ever there, and taking it in would make the interval hold it too often.
    """
    room = np.array([exponent - _CANDIDATES[0], HIGHEST_EXPONENT - exponent])
    inside, outside = np.zeros(2), np.maximum(room, 0.0)
    for grid in (_OFFSETS, np.linspace(0, 1, 33)[:, np.newaxis]):
        # Distances from the best exponent, downward and upward in one go.
        steps = inside + (outside - inside) * grid
        candidates = exponent + np.array([-1, 1]) * steps
        is_rejected = np.abs(curves.score(candidates.ravel())).reshape(steps.shape) > misfit
        is_rejected[0] = False  # the best fit, however narrow the interval around it
        first = np.where(is_rejected.any(axis=0), is_rejected.argmax(axis=0), len(grid) - 1)
        ends = np.arange(2)
        is_open = ~is_rejected[first, ends]  # nothing is rejected up to the edge of the range
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
        slopes = centre(powers * self.log_sizes / curves)
        # What the constant can imitate says nothing of k; at 0 it is at its edge, and not fitted.
        constant_slopes = centre(1 / curves)
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
            return centre(self.times.log_times - np.log(constants[..., np.newaxis] + powers))

        def measure(log_constants: Floats) -> Floats:
            errors: Floats = (compute_residuals(np.exp(log_constants)) ** 2).sum(axis=-1)
            return errors

        low, high = (np.full(len(exponents), end) for end in _LOG_SHARES)
        for _ in range(5):
            grid = np.linspace(low, high, 25)
            errors, width = measure(grid), (high - low) / 24
            middle = low + errors.argmin(axis=0) * width
            low, high = middle - width, middle + width
        constants = np.exp((low + high) / 2)
        without, errors = compute_residuals(np.zeros_like(constants)), measure(np.log(constants))
        constants[(without**2).sum(axis=-1) <= errors * (1 + 1e-9)] = 0.0
        return constants, compute_residuals(constants)


def explain_growth(fit: GrowthFit, expected: GrowthFit, axis: str) -> str:
    """One sentence: whether time grows as the FLOPs do, and where and why not.

    Args:
        fit: of the times. expected: of the FLOPs at the same sizes (`fit_counts`).
        axis: the name of n (T, B, ...).

    >>> fit = fit_growth({n: [0.012 + 0.001 * n] * 5 for n in (8, 16, 32, 64)})
    >>> print(explain_growth(fit, fit_counts({n: 1e6 * n for n in (8, 16, 32, 64)}), "T"))
    time grows as the FLOPs do (exponent 1.00, 95 % interval 1.00 to 1.00, against 1.00), after a \
fixed cost of 12.0 ms that is 60 % of the time at T = 8 and 16 % at T = 64
    """
    first, last = (f"{axis} = {size:g}" for size in (fit.sizes[0], fit.sizes[-1]))
    if (ratio := fit.times_s[-1] / fit.times_s[0]) < _GROWTH_RATIO:
        return (
            f"time does not grow ({format_digits(ratio)} times as long at {last} as at {first}), "
            f"though the FLOPs do (exponent {expected.exponent:.2f})"
        )
    sentence = _compare_exponents(fit, expected.exponent)
    shares = [100 * fit.constant_s / fit.predict_s(size) for size in (fit.sizes[0], fit.sizes[-1])]
    if fit.exponent and shares[0] >= _WORTH_SAYING:
        sentence += (
            f", after a fixed cost of {format_duration(fit.constant_s)} that is {shares[0]:.0f} % "
            f"of the time at {first} and {shares[1]:.0f} % at {last}"
        )
        fixed = 100 * expected.constant_s / expected.times_s[0]
        if fixed > _WORTH_SAYING:
            sentence += f" ({fixed:.0f} % of the FLOPs at {first} do not grow either)"
    before, after = (  # the time for each FLOP that grows
        (fit.times_s[i] - fit.constant_s) / (expected.times_s[i] - expected.constant_s)
        for i in (0, -1)
    )
    if fit.exponent and min(before, after) > 0:
        change = format_digits(max(after / before, before / after))
        if not 1 / _CLEAR_RATIO < after / before < _CLEAR_RATIO:
            more = "more" if after > before else "less"
            sentence += f", each FLOP takes {change} times {more} at {last} than at {first}"
    if fit.misfit > 1:
        sizes = zip(fit.sizes, fit.times_s, strict=True)
        farthest, _ = max(sizes, key=lambda pair: abs(pair[1] / fit.predict_s(pair[0]) - 1))
        sentence += (
            "; no power law fits the sizes within their noise, "
            f"{axis} = {farthest:g} is farthest off, and the interval allows for it"
        )
    return sentence


def _compare_exponents(fit: GrowthFit, expected: float) -> str:
    """The two exponents side by side, compared to the hundredth that is printed."""
    is_open = fit.exponent_high >= HIGHEST_EXPONENT
    if fit.exponent_low == 0 and is_open:
        verdict = "these sizes do not show how time grows"
    elif fit.exponent_low - expected > 0.01:
        verdict = "time grows faster than the FLOPs"
    elif expected - fit.exponent_high > 0.01:
        verdict = "time grows slower than the FLOPs"
    else:
        verdict = "time grows as the FLOPs do"
    return (
        f"{verdict} (exponent {fit.exponent:.2f}, 95 % interval {fit.exponent_low:.2f} to "
        f"{fit.exponent_high:.2f}{' or more' * is_open}, against {expected:.2f})"
    )
