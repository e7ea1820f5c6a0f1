"""Moments inside a compiled training step: when its forward and its backward pass are done.

A mark waits for all tensors of a pass, asks the clock, and lets the next pass begin only then: the
results of the forward pass are handed on after the moment, and on the way back their gradient is
held until that moment has been taken, since it does not depend on any of their values. What is
done between the moments is one pass and nothing else; what this costs is the difference to the step
without marks (`stages.measure_training`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


class StepMarks:
    """The marks of one compiled step; `training.step.make_train_step` calls them as it is traced.

    Args:
        now: seconds on a clock that never goes back. (TensorFlow's own, `tf.timestamp`, is refused
            where its operations are to be deterministic.)
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._moments = [0.0, 0.0]

    def end_forward(self, losses: tf.Tensor) -> tf.Tensor:
        """The losses, when all of them are computed; their gradient, no earlier."""
        with tf.control_dependencies([losses]):
            moment = self._note(0)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def hold(values: tf.Tensor) -> Any:
            def hold_gradient(gradient: tf.Tensor) -> tf.Tensor:
                with tf.control_dependencies([moment]):
                    return tf.identity(gradient)

            with tf.control_dependencies([moment]):
                return tf.identity(values), hold_gradient

        return hold(losses)

    def end_backward(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients, when all of them are computed."""
        with tf.control_dependencies(gradients):
            moment = self._note(1)
        with tf.control_dependencies([moment]):
            return [tf.identity(gradient) for gradient in gradients]

    def read(self) -> tuple[float, float]:
        """When the forward and the backward pass of the newest step ended."""
        forward, backward = self._moments
        return forward, backward

    def _note(self, index: int) -> tf.Tensor:
        def note() -> float:
            self._moments[index] = self._now()
            return 0.0

        return tf.numpy_function(note, [], tf.float64)
