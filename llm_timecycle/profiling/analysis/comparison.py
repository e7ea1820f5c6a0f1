"""The times of two profiles compared: each ratio, its interval, and whether it means anything.

    ratio = median of A / median of B

The 95 % interval comes from a bootstrap: both sides are resampled with replacement, whole processes
first where a side was measured in several, and within each in blocks of neighbouring timings,
because a slow second lasts longer than one step. A difference is within the noise where the
interval holds 1.

Sources: Efron 1979, "Bootstrap methods: another look at the jackknife"; Politis and Romano 1992,
"A circular block-resampling procedure for stationary data".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.results import ComparedTime

Rounds = Sequence[Sequence[float]]
"""Repeated timings of one thing in seconds, process by process."""
Timings = Mapping[str, Sequence[float]]
"""The timings of one process, by what they time."""

DRAWS = 2_000
FEWEST_TIMINGS = 5
_CONFIDENCE = 0.95
_NUMBERS_AT_ONCE = 4_000_000
_SMALLEST_S = 1e-9  # what no clock of this program can tell from 0


def compare_timings(
    a: Sequence[Timings], b: Sequence[Timings], *, seed: int = 0
) -> tuple[ComparedTime, ...]:
    """Every time that A and B have in common, in the order of A's.

    Args:
        a, b: the timings of each side, process by process. seed: of the bootstrap.

    Raises:
        UsageError: A and B have no time in common, or none with enough timings.
    """
    pooled_a, pooled_b = _pool(a), _pool(b)
    names = [name for name in pooled_a if name in pooled_b]
    if not names:
        raise UsageError("the two profiles share no timing: measure the same of both.")
    random = np.random.default_rng(seed)
    compared = [compare_times(name, pooled_a[name], pooled_b[name], random) for name in names]
    times = tuple(time for time in compared if time is not None)
    if not times:
        raise UsageError(
            f"the two profiles share no timing that was taken at least {FEWEST_TIMINGS} times and "
            "lasts long enough to compare: measure more steps of both."
        )
    return times


def compare_times(
    name: str, a: Rounds, b: Rounds, random: np.random.Generator
) -> ComparedTime | None:
    """One time of A and of B, process by process; None where timings are too few or too short.

    >>> steady = compare_times("step", [[2.0] * 9], [[1.0] * 9], np.random.default_rng(0))
    >>> steady.ratio, steady.low, steady.high, steady.verdict
    (2.0, 2.0, 2.0, 'A is slower')
    """
    if min(sum(map(len, a)), sum(map(len, b))) < FEWEST_TIMINGS:
        return None
    a_s, b_s = (float(np.median(np.concatenate([np.asarray(r) for r in side]))) for side in (a, b))
    if min(a_s, b_s) < _SMALLEST_S:
        return None
    ratios = _draw_medians(a, random) / np.maximum(_draw_medians(b, random), _SMALLEST_S)
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.percentile(ratios, [tail, 100 - tail]).tolist()
    return ComparedTime(name, a_s, b_s, a_s / b_s, low, high)


def _draw_medians(rounds: Rounds, random: np.random.Generator) -> NDArray[np.float64]:
    """The medians of resampled timings, (DRAWS,); each draws as many processes as there are."""
    arrays = [np.asarray(timings, np.float64) for timings in rounds if len(timings)]
    count, longest = len(arrays), max(map(len, arrays))
    at_once = max(1, _NUMBERS_AT_ONCE // (count * longest))
    medians = []
    for first in range(0, DRAWS, at_once):
        chosen = random.integers(count, size=(min(at_once, DRAWS - first), count))
        # Processes may differ in their number of timings: what a shorter one lacks is NaN.
        drawn = np.full((*chosen.shape, longest), np.nan)
        for number, timings in enumerate(arrays):
            rows, slots = np.nonzero(chosen == number)
            drawn[rows, slots, : len(timings)] = _draw_blocks(timings, len(rows), random)
        medians.append(np.nanmedian(drawn.reshape(len(chosen), -1), axis=1))
    return np.concatenate(medians)


def _draw_blocks(
    timings: NDArray[np.float64], draws: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Resamples (draws, R) of R timings, in blocks of neighbours; both ends are neighbours."""
    count = len(timings)
    length = max(1, round(count ** (1 / 3)))
    starts = random.integers(count, size=(draws, -(-count // length), 1))
    positions = (starts + np.arange(length)).reshape(draws, -1)[:, :count] % count
    drawn: NDArray[np.float64] = timings[positions]
    return drawn


def _pool(processes: Sequence[Timings]) -> dict[str, list[Sequence[float]]]:
    """The timings of every name that all processes have, process by process."""
    return {
        name: [timings[name] for timings in processes]
        for name in processes[0]
        if all(name in timings for timings in processes)
    }
