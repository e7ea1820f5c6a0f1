"""Two profiles side by side: the ratio of their times, its interval, and whether it says anything.

    ratio = median of A / median of B

The 95 % interval comes from a bootstrap: both sides are drawn again with replacement, whole
processes first where a side was measured in several, and within each in blocks of neighbouring
timings, because a slow second lasts longer than one step. A difference is within the noise where
the interval holds 1.

Sources: Efron 1979, "Bootstrap methods: another look at the jackknife"; Politis and Romano 1992,
"A circular block-resampling procedure for stationary data".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.render.json_form import describe_profile, read_timings
from llm_timecycle.profiling.results import ComparedTime, Profile
from llm_timecycle.system import describe_machine_briefly

Described = Mapping[str, Any]
Rounds = Sequence[Sequence[float]]

DRAWS = 2_000
FEWEST_TIMINGS = 5
_CONFIDENCE = 0.95
_NUMBERS_AT_ONCE = 4_000_000
_SMALLEST_S = 1e-9  # what no clock of this program can tell from 0


@dataclass(frozen=True)
class Comparison:
    """Two profiles side by side; `print` shows the table."""

    a_name: str
    b_name: str
    times: tuple[ComparedTime, ...]
    differences: dict[str, tuple[Any, Any]]
    """The settings, versions and parts of the machine that differ, by dotted path: of A, of B."""

    def __str__(self) -> str:
        from llm_timecycle.profiling.render.terminal import write_comparison

        return write_comparison(self.a_name, self.b_name, self.times, self.differences)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain values."""
        return {
            "version": 1,
            "a": self.a_name,
            "b": self.b_name,
            "times": [
                {
                    "name": time.name,
                    "a_s": time.a_s,
                    "b_s": time.b_s,
                    "ratio": time.ratio,
                    "low": time.low,
                    "high": time.high,
                    "verdict": time.verdict,
                }
                for time in self.times
            ],
            "differences": {key: list(pair) for key, pair in self.differences.items()},
        }

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        from llm_timecycle.profiling.render.html import render_comparison

        return render_comparison(self.times)


def compare(a: Any, b: Any, *, seed: int = 0) -> Comparison:
    """Two profiles side by side.

    Args:
        a, b: what `profile` gave, its `to_dict()`, or a list of either: the same thing, measured in
            several processes. Measure them in turn, so that a slow minute falls on both.
        seed: of the draws.

    Raises:
        UsageError: one of them is no profile, or they have no time in common to tell apart.
    """
    described_a, described_b = _describe_all(a), _describe_all(b)
    timings_a, timings_b = _pool(described_a), _pool(described_b)
    names = [name for name in timings_a if name in timings_b]
    if not names:
        raise UsageError("two profiles with no time in common: measure the same of both.")
    random = np.random.default_rng(seed)
    compared = [compare_times(name, timings_a[name], timings_b[name], random) for name in names]
    times = tuple(time for time in compared if time is not None)
    if not times:
        raise UsageError(
            f"two profiles with no time in common that was taken at least {FEWEST_TIMINGS} times "
            "and lasts long enough to tell: measure more --steps of both."
        )
    return Comparison(
        a_name=_describe_briefly(described_a[0]),
        b_name=_describe_briefly(described_b[0]),
        times=times,
        differences=_list_differences(described_a[0], described_b[0]),
    )


def compare_times(
    name: str, a: Rounds, b: Rounds, random: np.random.Generator
) -> ComparedTime | None:
    """One time of A and of B, each as timings by process; None where there are too few.

    Nor is there a ratio where half of the timings of a side cannot be told from 0.

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
    """The medians of so many samples drawn anew, (DRAWS,)."""
    arrays = [np.asarray(timings, np.float64) for timings in rounds if len(timings)]
    at_once = max(1, _NUMBERS_AT_ONCE // (len(arrays) * max(map(len, arrays))))
    return np.concatenate(
        [
            _draw_some_medians(arrays, min(at_once, DRAWS - first), random)
            for first in range(0, DRAWS, at_once)
        ]
    )


def _draw_some_medians(
    arrays: Sequence[NDArray[np.float64]], draws: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """The medians of `draws` samples; each takes as many processes as there are."""
    chosen = random.integers(len(arrays), size=(draws, len(arrays)))
    # Processes may have different numbers of timings; what a shorter one lacks is no number.
    drawn = np.full((*chosen.shape, max(map(len, arrays))), np.nan)
    for number, timings in enumerate(arrays):
        rows, slots = np.nonzero(chosen == number)
        drawn[rows, slots, : len(timings)] = _draw_blocks(timings, len(rows), random)
    medians: NDArray[np.float64] = np.nanmedian(drawn.reshape(draws, -1), axis=1)
    return medians


def _draw_blocks(
    timings: NDArray[np.float64], draws: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """So many samples (draws, R) of R timings, in blocks of neighbours; the ends are neighbours."""
    count = len(timings)
    length = max(1, round(count ** (1 / 3)))
    starts = random.integers(count, size=(draws, -(-count // length), 1))
    places = (starts + np.arange(length)).reshape(draws, -1)[:, :count] % count
    drawn: NDArray[np.float64] = timings[places]
    return drawn


def _describe_all(side: Any) -> list[Described]:
    """One side as described profiles, one for each process."""
    items = list(side) if isinstance(side, (list, tuple)) else [side]
    if not items:
        raise UsageError("compare: expected a profile, received an empty list.")
    return [_describe_one(item) for item in items]


def _describe_one(item: Any) -> Described:
    if isinstance(item, Profile):
        return describe_profile(item)
    described = item.to_dict() if hasattr(item, "to_dict") else item
    if not isinstance(described, Mapping):
        raise UsageError(
            f"compare: expected what profile() gave, received {type(described).__name__}."
        )
    return described


def _pool(rounds: Sequence[Described]) -> dict[str, list[tuple[float, ...]]]:
    """The timings of every name that all rounds have, by round."""
    timings = [read_timings(described) for described in rounds]
    return {
        name: [measured[name] for measured in timings]
        for name in timings[0]
        if all(name in measured for measured in timings)
    }


def _describe_briefly(described: Described) -> str:
    return f"{described.get('name', '')} ({describe_machine_briefly(described.get('machine', {}))})"


def _list_differences(a: Described, b: Described) -> dict[str, tuple[Any, Any]]:
    """What differs between two descriptions but the times, by dotted path."""
    flat_a, flat_b = (
        dict(_flatten({key: side.get(key, {}) for key in ("machine", "versions", "settings")}))
        for side in (a, b)
    )
    keys = [*flat_a, *(key for key in flat_b if key not in flat_a)]
    pairs = {key: (flat_a.get(key), flat_b.get(key)) for key in keys}
    return {
        key.removeprefix("settings."): pair for key, pair in pairs.items() if pair[0] != pair[1]
    }


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
