"""Spans on a monotonic clock: where the time of a loop goes, and how long it has worked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONGEST_SPAN_S = 30.0
"""A span that `ActiveClock` takes for an interruption is longer, whatever its kind."""


class StageClock:
    """Adds up the seconds spent in each named stage.

    >>> ticks = iter([0.0, 2.0, 2.0, 5.0])
    >>> clock = StageClock(now=lambda: next(ticks))
    >>> with clock.measure("input"): pass
    >>> with clock.measure("compute"): pass
    >>> clock.take()
    {'input': 2.0, 'compute': 3.0}

    Args:
        now: seconds on a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the time of the block towards `stage`."""
        start = self._now()
        try:
            yield
        finally:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + self._now() - start

    def take(self) -> dict[str, float]:
        """Seconds by stage since the last `take`, in the order of first use; then begins anew."""
        seconds, self._seconds = self._seconds, {}
        return seconds


class ActiveClock:
    """Seconds that a process has worked, without those in which it was suspended or stopped.

    Work comes in spans, each ended by `tick`. A span far longer than others of its kind is a laptop
    that slept or a process that was stopped: it counts as a usual one.

    >>> seconds = iter([1.0, 2.0, 3.0, 4.0, 4000.0, 4000.0])
    >>> clock = ActiveClock(0.0, now=lambda: next(seconds))
    >>> [clock.tick("step") for _ in range(5)], clock.read_s()
    ([1.0, 1.0, 1.0, 1.0, 1.0], 5.0)

    Args:
        began_at_s: when the work began, on the clock `now`.
        now: seconds on a clock that never goes back.
    """

    def __init__(self, began_at_s: float, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._began_at_s = self._ticked_at_s = began_at_s
        self._idle_s = 0.0
        self._spans: dict[str, deque[float]] = {}

    def tick(self, kind: str) -> float:
        """End a span of work of this kind; returns the seconds that count."""
        now_s = self._now()
        span_s, self._ticked_at_s = now_s - self._ticked_at_s, now_s
        before = self._spans.setdefault(kind, deque(maxlen=51))
        if span_s > LONGEST_SPAN_S and len(before) >= 3:
            usual_s = sorted(before)[len(before) // 2]
            if span_s > 20 * usual_s:
                self._idle_s += span_s - usual_s
                span_s = usual_s
        before.append(span_s)
        return span_s

    def find_last_s(self, kind: str) -> float | None:
        """Seconds of the last span of this kind; None if there was none."""
        return self._spans[kind][-1] if kind in self._spans else None

    def read_s(self) -> float:
        """Seconds of work since it began."""
        return self._now() - self._began_at_s - self._idle_s
