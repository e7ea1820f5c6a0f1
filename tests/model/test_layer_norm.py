"""The layer norm beside Keras' own; its twin is in test_against_reference."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.weight_shapes import LAYER_NORM_EPSILON
from llm_timecycle.model.layer_norm import LayerNorm
from llm_timecycle.reference import layer_norm as twin

SHAPE = (3, 5, 16)


def differentiate(layer: keras.layers.Layer, x: tf.Tensor, weights: tf.Tensor) -> list[np.ndarray]:
    """y, and the gradients of sum(weights * y) for x, gamma and beta."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        total = tf.reduce_sum(tf.cast(y, tf.float32) * weights)
    variables = [variable.value for variable in layer.trainable_variables]
    return [np.asarray(tf.cast(v, tf.float32)) for v in (y, *tape.gradient(total, [x, *variables]))]


def make_layer(kind: type[keras.layers.Layer], dtype: str = "float32") -> keras.layers.Layer:
    layer = kind(epsilon=LAYER_NORM_EPSILON, dtype=dtype)
    layer.build(SHAPE)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=SHAPE[-1:]) for _ in range(2)])
    return layer


def draw_inputs() -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(0)
    x, weights = (tf.constant(rng.normal(size=SHAPE), tf.float32) for _ in range(2))
    return 3.0 * x + 2.0, weights


def test_it_is_keras_layer_norm() -> None:
    found = differentiate(make_layer(LayerNorm), *draw_inputs())
    expected = differentiate(make_layer(keras.layers.LayerNormalization), *draw_inputs())
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_in_bfloat16_it_stays_within_its_rounding() -> None:
    x, weights = draw_inputs()
    found = differentiate(make_layer(LayerNorm, "mixed_bfloat16"), x, weights)
    expected = differentiate(make_layer(LayerNorm), x, weights)
    for got, wanted in zip(found, expected, strict=True):
        assert np.linalg.norm(got - wanted) / np.linalg.norm(wanted) < 2 * 2.0**-8


def test_both_add_the_same_number_to_the_variance() -> None:
    """`reference` has no imports from `config`, so the number is written twice."""
    assert pytest.approx(twin.EPSILON, abs=0) == LAYER_NORM_EPSILON
