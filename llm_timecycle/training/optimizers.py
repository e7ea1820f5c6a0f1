"""The optimizers: those of Keras, with Adam's update in one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from llm_timecycle.config.settings import TrainingSettings


def make_optimizer(settings: TrainingSettings) -> keras.optimizers.Optimizer:
    """The optimizer of the settings; the loop sets its learning rate before every step."""
    rate = settings.learning_rate
    assert rate is not None, "the settings are not filled in yet"
    if settings.optimizer == "sgd":
        return keras.optimizers.SGD(rate)
    decay = 0.0 if settings.optimizer == "adam" else settings.weight_decay
    return Adam(rate, nesterov=settings.optimizer == "nadam", matrix_decay=decay)


def apply_scaled(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[keras.Variable],
    scale: tf.Tensor,
) -> None:
    """Update the variables with the gradients times `scale`, a number."""
    if isinstance(optimizer, Adam):
        optimizer.gradient_scale = scale
    else:
        gradients = [gradient * scale for gradient in gradients]
    optimizer.apply(gradients, variables)


class Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """`keras.optimizers.Adam`, updating in place, in one pass over its four arrays.

    With `nesterov` it is NAdam, at the same price. With `matrix_decay` it is AdamW or NAdamW: one
    more pass over every matrix, which shrinks by that fraction times the learning rate; vectors
    (biases, the weights of a layer norm) do not. `gradient_scale`, set before `apply`, multiplies
    the gradients. `reference/optimizers.py` has the formulas.
    """

    gradient_scale: tf.Tensor | float = 1.0

    def __init__(
        self,
        learning_rate: float,
        *,
        nesterov: bool = False,
        matrix_decay: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.nesterov, self.matrix_decay = nesterov, matrix_decay

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Update a variable and its two moments."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        rate = tf.cast(learning_rate, tf.float32)
        if self.matrix_decay and len(variable.shape) == 2:
            variable.assign(variable * (1.0 - rate * self.matrix_decay))
        beta_1, beta_2 = tf.constant(self.beta_1), tf.constant(self.beta_2)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=self.epsilon,
            grad=gradient * self.gradient_scale,
            use_nesterov=self.nesterov,
        )
