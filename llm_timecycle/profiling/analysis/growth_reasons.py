"""One sentence on a growth fit: whether time grows as the work does, and where and why it parts."""

from __future__ import annotations

from collections.abc import Mapping

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.power_law import (
    HIGHEST_EXPONENT,
    fit_growth,
    predict_exponent,
)
from llm_timecycle.profiling.format import format_digits, format_duration
from llm_timecycle.profiling.results import GrowthFit

_WORTH_SAYING = 0.05  # a fixed cost below this share of the smallest size explains nothing
_GROWTH_RATIO = 1.05  # a last time below this many first ones has not grown
_CLEAR_RATIO = 1.1  # costs an operation that differ by less are the same


def explain_growth(fit: GrowthFit, counts: Mapping[float, float], axis: str) -> str:
    """What was measured beside what the operation counts predict, and why the two part.

    Args:
        fit: of the times. counts: operations at the same sizes. axis: the name of n (T, B, ...).

    Raises:
        UsageError: counts and times are not of the same sizes.

    >>> from llm_timecycle.profiling.analysis.power_law import fit_growth
    >>> fit = fit_growth({n: [0.012 + 0.001 * n] * 5 for n in (8, 16, 32, 64)})
    >>> print(explain_growth(fit, {n: 1e6 * n for n in (8, 16, 32, 64)}, "T"))
    time grows as the work does (exponent 1.00, 95 % interval 1.00 to 1.00, against 1.00), after a \
fixed cost of 12.0 ms that is 60 % of the time at T = 8 and 16 % at T = 64
    """
    if sorted(counts) != list(fit.sizes):
        raise UsageError(
            f"counts: expected those of the sizes {list(fit.sizes)}, received {sorted(counts)}."
        )
    ratio = fit.times_s[-1] / fit.times_s[0]
    if ratio < _GROWTH_RATIO:
        return (
            f"time does not grow ({format_digits(ratio)} times as long at {axis} = "
            f"{fit.sizes[-1]:g} as at {fit.sizes[0]:g}), though the work does (exponent "
            f"{predict_exponent(counts):.2f})"
        )
    fixed = fit_growth({size: [count] * 5 for size, count in counts.items()}).constant_s
    reasons = [
        _describe_constant(fit, counts, fixed, axis),
        _describe_cost(fit, counts, fixed, axis),
    ]
    said = ", ".join(reason for reason in (_compare(fit, counts), *reasons) if reason)
    if fit.misfit > 1:
        said += (
            "; the sizes miss any one power law by more than noise, "
            f"{axis} = {_find_farthest(fit):g} by the most, and the interval allows for it"
        )
    return said


def _compare(fit: GrowthFit, counts: Mapping[float, float]) -> str:
    """The two exponents side by side."""
    predicted = predict_exponent(counts)
    if fit.exponent_low == 0 and fit.exponent_high >= HIGHEST_EXPONENT:
        verdict = "how time grows cannot be told from these sizes"
    elif _rounds_to_or_above(fit.exponent_low, predicted):
        verdict = "time grows faster than the work"
    elif _rounds_to_or_above(predicted, fit.exponent_high):
        verdict = "time grows slower than the work"
    else:
        verdict = "time grows as the work does"
    high = f"{fit.exponent_high:.2f}" + (" or more" * (fit.exponent_high >= HIGHEST_EXPONENT))
    return (
        f"{verdict} (exponent {fit.exponent:.2f}, 95 % interval {fit.exponent_low:.2f} to {high}, "
        f"against {predicted:.2f})"
    )


def _rounds_to_or_above(higher: float, lower: float) -> bool:
    """Whether one exponent is above another by more than the hundredth that is printed."""
    return higher - lower > 0.01


def _describe_constant(
    fit: GrowthFit, counts: Mapping[float, float], fixed: float, axis: str
) -> str:
    """What every size pays, where that is enough to matter; `fixed` operations are in it."""
    first, last = fit.sizes[0], fit.sizes[-1]
    share, share_last = (fit.constant_s / fit.predict_s(size) for size in (first, last))
    if share < _WORTH_SAYING or fit.exponent == 0:
        return ""
    said = (
        f"after a fixed cost of {format_duration(fit.constant_s)} that is {share:.0%} of the time "
        f"at {axis} = {first:g} and {share_last:.0%} at {axis} = {last:g}"
    )
    if fixed > _WORTH_SAYING * counts[first]:
        idle = fixed / counts[first]
        said += f" (of the work at {axis} = {first:g}, {idle:.0%} does not grow either)"
    return said.replace("%", " %")


def _describe_cost(fit: GrowthFit, counts: Mapping[float, float], fixed: float, axis: str) -> str:
    """How the cost of one operation that grows changes from the smallest size to the largest."""
    costs = [
        (time_s - fit.constant_s) / (counts[size] - fixed)
        for size, time_s in zip(fit.sizes, fit.times_s, strict=True)
    ]
    if min(costs[0], costs[-1]) <= 0 or fit.exponent == 0:
        return ""
    ratio = costs[-1] / costs[0]
    if 1 / _CLEAR_RATIO < ratio < _CLEAR_RATIO:
        return ""
    change = f"{format_digits(ratio)} times dearer" if ratio > 1 else _say_cheaper(ratio)
    beyond = "beyond it " if fit.constant_s > 0 else ""
    return (
        f"{beyond}an operation is {change} at {axis} = {fit.sizes[-1]:g} than at {fit.sizes[0]:g}"
    )


def _say_cheaper(ratio: float) -> str:
    return f"{format_digits(1 / ratio)} times cheaper"


def _find_farthest(fit: GrowthFit) -> float:
    """The size whose time is farthest from the curve, relative to it."""
    pairs = zip(fit.sizes, fit.times_s, strict=True)
    return max(pairs, key=lambda pair: abs(pair[1] / fit.predict_s(pair[0]) - 1))[0]
