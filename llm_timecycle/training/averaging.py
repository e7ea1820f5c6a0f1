"""Weight averaging: the mean of the weights over the steps since averaging began.

A rate that is too high to settle leaves the weights wandering around a minimum; their mean is
nearer to it than any of them. `Progress` decides when averaging begins and counts its steps. From
then on the mean is what is validated and saved as the best weights, while training goes on with the
weights themselves. `reference/averaging.py` is the twin.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from llm_timecycle.model.network import assign_parameters, list_parameters, read_parameters


class WeightAverage:
    """The running mean of a network's weights; zeros until the first step is added.

        average_k = average_{k-1} + (weights_k - average_{k-1}) / k

    Built under the strategy's scope.

    Args:
        network: whose weights are averaged.
        strategy: that of the training.
    """

    def __init__(self, network: keras.Model, strategy: tf.distribute.Strategy) -> None:
        self._network = network
        parameters = list_parameters(network)
        self.variables = {
            name: keras.Variable(tf.zeros(weight.shape), trainable=False, dtype="float32")
            for name, weight in parameters.items()
        }
        """The mean of each weight, by name."""
        pairs = [(self.variables[name].value, weight.value) for name, weight in parameters.items()]

        @tf.function(input_signature=(tf.TensorSpec((), tf.float32),), autograph=False)  # type: ignore[untyped-decorator]
        def move(share: tf.Tensor) -> None:
            for average, weight in pairs:
                strategy.extended.update(average, _move, args=(weight, share))

        self._move = move

    def add(self, number: int) -> None:
        """Add the weights of the moment, those of step `number` since averaging began, from 1."""
        self._move(tf.constant(1.0 / number, tf.float32))

    @contextmanager
    def apply(self) -> Iterator[None]:
        """A context in which the network has the mean for its weights."""
        weights = read_parameters(self._network)
        try:
            means = {name: variable.numpy() for name, variable in self.variables.items()}
            assign_parameters(self._network, means)
            yield
        finally:
            assign_parameters(self._network, weights)


def _move(average: tf.Variable, weight: tf.Tensor, share: tf.Tensor) -> None:
    """Move the mean towards a weight by this share of the way, in place."""
    delta = average - weight
    tf.raw_ops.ResourceApplyGradientDescent(var=average.handle, alpha=share, delta=delta)
