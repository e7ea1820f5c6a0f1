"""Named spans on a monotonic clock: where the time of a loop goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
