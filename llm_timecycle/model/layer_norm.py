"""Layer normalization, in one pass over memory each way; `reference/layer_norm.py` is the twin."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from llm_timecycle.config.weight_shapes import LAYER_NORM_EPSILON


class LayerNorm(keras.layers.LayerNormalization):  # type: ignore[misc]
    """`keras.layers.LayerNormalization` over the last axis, with a hand-written gradient.

    Mean and variance are computed in float32, whatever the type of the input.

    Call shapes: x (B, T, H) -> (B, T, H).

    Source: Ba, Kiros and Hinton 2016, "Layer Normalization", equations 3 and 4.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"epsilon": LAYER_NORM_EPSILON, **options})

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The normalized input, in the type of the matrix products."""
        gamma, beta = (tf.convert_to_tensor(v) for v in (self.gamma, self.beta))
        return normalize(tf.cast(inputs, self.compute_dtype), gamma, beta, self.epsilon)


def normalize(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Every row of x, shifted and scaled to mean 0 and variance 1, then by what is learned.

        y = gamma (x - mean(x)) / sqrt(var(x) + epsilon) + beta

    Args:
        x: (B, T, H). gamma, beta: (H,), float32.

    Returns:
        y (B, T, H), in the type of x.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def compute(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> Any:
        def compute_gradients(dy: tf.Tensor) -> Any:
            return _differentiate(x, gamma, dy, epsilon)

        return _normalize(x, gamma, beta, epsilon), compute_gradients

    return compute(x, gamma, beta)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _normalize(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    return tf.cast(gamma * _standardize(x, epsilon)[0] + beta, x.dtype)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _differentiate(x: tf.Tensor, gamma: tf.Tensor, dy: tf.Tensor, epsilon: float) -> Any:
    """The gradients dx (B, T, H), dgamma and dbeta (H,).

        z = (x - mean(x)) / s,    dz = gamma dy,    dx = (dz - mean(dz) - z mean(z dz)) / s

    z and s are computed again instead of being stored.
    """
    z, s = _standardize(x, epsilon)
    dy = tf.cast(dy, tf.float32)
    dz = gamma * dy
    mean_dz = tf.reduce_mean(dz, axis=-1, keepdims=True)
    mean_zdz = tf.reduce_mean(z * dz, axis=-1, keepdims=True)
    dx = (dz - mean_dz - z * mean_zdz) / s
    return tf.cast(dx, x.dtype), tf.reduce_sum(z * dy, axis=[0, 1]), tf.reduce_sum(dy, axis=[0, 1])


def _standardize(x: tf.Tensor, epsilon: float) -> tuple[tf.Tensor, tf.Tensor]:
    """x with mean 0 and variance 1 in each row, and what it was divided by (B, T, 1)."""
    x = tf.cast(x, tf.float32)
    deviations = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(deviations), axis=-1, keepdims=True)
    s = tf.sqrt(variance + epsilon)
    return deviations / s, s
