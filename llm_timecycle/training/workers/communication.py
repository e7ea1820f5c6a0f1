"""What workers exchange in a step, apart from the rest of the step: how much, and how to time it.

Every worker adds its gradients and its loss to those of the others. TensorFlow's ring sends each of
W workers 2 (W - 1) / W times the bytes of these tensors, in 2 (W - 1) messages one after the other
(Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations").
"""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from llm_timecycle.training.workers.workers import Workers

FLOAT_BYTES = 4
"""Gradients are added in float32, whatever the precision of the products."""


def count_added_bytes(network: keras.Model) -> int:
    """Bytes of the gradients and the loss that a worker adds to those of the others in a step."""
    weights: int = sum(math.prod(variable.shape) for variable in network.trainable_variables)
    return FLOAT_BYTES * (weights + 1)


def count_sent_bytes(network: keras.Model, workers: int) -> float:
    """Bytes that each of `workers` workers (W) sends in a step: 2 (W - 1) / W of those it adds."""
    return 2 * (workers - 1) / workers * count_added_bytes(network)


def make_exchange(network: keras.Model, workers: Workers) -> Callable[[], None]:
    """A call that does what a step of `network` does between its gradients and its update.

    It adds zeros of the gradients' shapes over the workers, and returns when they are there. All
    workers call it equally often. The first call builds the graph.
    """
    shapes = [*(variable.shape for variable in network.trainable_variables), ()]
    zeros = [tf.zeros(shape) for shape in shapes]
    add = tf.function(workers.add, autograph=False)

    def exchange() -> None:
        for added in add(zeros):
            added.numpy()

    return exchange
