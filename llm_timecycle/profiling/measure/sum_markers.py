"""Markers around the sum over the workers, in a compiled step; see `stages` for how they work."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import tensorflow as tf

from llm_timecycle.profiling.measure.interleave import Clock
from llm_timecycle.profiling.measure.stages import Moments, hold
from llm_timecycle.training.workers.workers import Workers


class MarkedWorkers(Workers):
    """The same workers, which note when a step begins and ends to add over them.

    Args:
        workers: those that add. now: seconds on a clock that never goes back.
    """

    def __init__(self, workers: Workers, now: Clock) -> None:
        self.size, self.index, self.threads = workers.size, workers.index, workers.threads
        self._workers, self._moments = workers, Moments(now)

    def add(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """In a graph: the sums of each tensor over the workers, begun once all are computed."""
        added = self._workers.add(hold(tensors, partial(self._moments.note, 0)))
        return hold(added, partial(self._moments.note, 1))

    def read(self) -> tuple[float, float]:
        """When the sum of the latest step began and ended."""
        return self._moments.read()
