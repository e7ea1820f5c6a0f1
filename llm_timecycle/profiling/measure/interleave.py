"""The one timing loop: several things run round after round, on a clock that is an argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

Clock = Callable[[], float]
"""Seconds on a clock that never goes back."""
Run = Callable[[], object]
Key = TypeVar("Key")


def interleave(
    runs: Mapping[Key, Run],
    rounds: int,
    *,
    now: Clock,
    warm_up: int = 0,
    fewest: int = 0,
    budget_s: float = math.inf,
) -> dict[Key, tuple[float, ...]]:
    """Seconds of every run, all of them once a round, so that a slow moment falls on all alike.

    Args:
        runs: what to time, by any name; each returns when its work is done.
        rounds: how often, at most. warm_up: rounds before these that are not timed.
        fewest, budget_s: after `fewest` rounds, none begins once they took `budget_s` in all.

    >>> ticks = iter([0.0, 2.0, 2.0, 5.0])
    >>> interleave({"a": list, "b": list}, 1, now=lambda: next(ticks))
    {'a': (2.0,), 'b': (3.0,)}
    """
    for _ in range(warm_up):
        for run in runs.values():
            run()
    samples_s: dict[Key, list[float]] = {key: [] for key in runs}
    spent_s = 0.0
    for round_ in range(rounds):
        if round_ >= fewest and spent_s >= budget_s:
            break
        for key, run in runs.items():
            began = now()
            run()
            taken_s = now() - began
            samples_s[key].append(taken_s)
            spent_s += taken_s
    return {key: tuple(taken) for key, taken in samples_s.items()}
