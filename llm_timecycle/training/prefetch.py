"""Prefetching: the next window of every lane is prepared while the current step computes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import tensorflow as tf

from llm_timecycle.model.sharding import distribute
from llm_timecycle.text.batches import Lanes

Window = tuple[Any, ...]


class WindowFeed:
    """Prepares windows in a background thread, one ahead.

    When a step asks for its window, reading, the copy into tensors and the distribution over
    replicas are already done, unless it asks for a window other than the next.
    """

    def __init__(
        self,
        lanes: Lanes,
        strategy: tf.distribute.Strategy,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._lanes, self._strategy, self._now = lanes, strategy, now
        self._thread = ThreadPoolExecutor(1, "windows")
        self._next: tuple[int, Future[tuple[Window, float]]] | None = None
        self.preparing_s = 0.0
        """Time spent preparing the windows that were taken, whether a step waited for it or not."""

    def take(self, step: int) -> Window:
        """The window of a step, as `Lanes.read_window` reads it, in the strategy's values.

        Preparation of the window after it starts.
        """
        expected, prepared = self._next or (None, None)
        if prepared is None or expected != self._lanes.number_window(step):
            prepared = self._thread.submit(self._prepare, step)
        window, seconds = prepared.result()
        self.preparing_s += seconds
        following = self._lanes.number_window(step + 1)
        self._next = following, self._thread.submit(self._prepare, following)
        return window

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _prepare(self, step: int) -> tuple[Window, float]:
        began = self._now()
        arrays = self._lanes.read_window(step)
        window = tuple(distribute(self._strategy, array) for array in arrays)
        return window, self._now() - began
