"""The optimizers: those of Keras, with Adam's update in one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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


class _Step(NamedTuple):
    """What Adam's formula has for all variables: a number each, float32."""

    rate: tf.Tensor
    beta_1: tf.Tensor
    beta_2: tf.Tensor
    beta_1_power: tf.Tensor
    beta_2_power: tf.Tensor


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

    def apply(
        self,
        grads: Sequence[tf.Tensor],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Update all variables, with numbers of the step that are computed once."""
        step = tf.cast(self.iterations + 1, tf.float32)
        beta_1, beta_2 = tf.constant(self.beta_1), tf.constant(self.beta_2)
        rate = tf.cast(self.learning_rate, tf.float32)
        self._step = _Step(rate, beta_1, beta_2, beta_1**step, beta_2**step)
        super().apply(grads, trainable_variables)

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Update a variable and its two moments; called by `apply`."""
        index, step = self._get_variable_index(variable), self._step
        if self.matrix_decay and len(variable.shape) == 2:
            variable.assign(variable * (1.0 - step.rate * self.matrix_decay))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=step.beta_1_power,
            beta2_power=step.beta_2_power,
            lr=step.rate,
            beta1=step.beta_1,
            beta2=step.beta_2,
            epsilon=self.epsilon,
            grad=gradient * self.gradient_scale,
            use_nesterov=self.nesterov,
        )
