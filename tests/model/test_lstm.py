"""Our LSTM layer is Keras' LSTM: outputs, states and every gradient, over random shapes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.model.lstm import LSTM


def differentiate(
    layer: keras.layers.Layer, x: tf.Tensor, states: list[tf.Tensor], weights: list[tf.Tensor]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Outputs and states, and the gradients of their weighted sum by input, states, variables."""
    with tf.GradientTape() as tape:
        tape.watch([x, *states])
        results = layer(x, initial_state=states)
        loss = tf.add_n([tf.reduce_sum(r * w) for r, w in zip(results, weights, strict=True)])
    gradients = tape.gradient(loss, [x, *states, *[v.value for v in layer.trainable_variables]])
    return [r.numpy() for r in results], [g.numpy() for g in gradients]


@pytest.mark.parametrize("seed", range(5))
def test_outputs_states_and_gradients_are_those_of_keras(seed: int) -> None:
    rng = np.random.default_rng(seed)
    B, T, D, H = (int(n) for n in rng.integers(1, 9, 4))
    ours = LSTM(H, return_sequences=True, return_state=True)
    keras_layer = keras.layers.LSTM(H, return_sequences=True, return_state=True)
    draw = lambda *shape: tf.constant(rng.normal(size=shape), tf.float32)  # noqa: E731
    x, states = draw(B, T, D), [draw(B, H), draw(B, H)]
    ours.build(x.shape)
    keras_layer.build(x.shape)
    keras_layer.set_weights(ours.get_weights())
    weights = [draw(B, T, H), draw(B, H), draw(B, H)]
    values, gradients = differentiate(ours, x, states, weights)
    keras_values, keras_gradients = differentiate(keras_layer, x, states, weights)
    for got, expected in zip(values + gradients, keras_values + keras_gradients, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-5)


def test_without_an_initial_state_it_begins_at_zero() -> None:
    layer = LSTM(3, return_sequences=True)
    x = tf.ones((2, 4, 5))
    zeros = [tf.zeros((2, 3)), tf.zeros((2, 3))]
    assert np.array_equal(layer(x), layer(x, initial_state=zeros))


def test_without_return_sequences_it_gives_the_last_output() -> None:
    layer = LSTM(3)
    whole = LSTM(3, return_sequences=True)
    x = tf.ones((2, 4, 5))
    whole.build(x.shape)
    layer.build(x.shape)
    whole.set_weights(layer.get_weights())
    assert np.array_equal(layer(x), whole(x)[:, -1])


def test_a_mask_takes_keras_path_and_means_what_it_means_there() -> None:
    ours, theirs = LSTM(3), keras.layers.LSTM(3)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 5)), tf.float32)
    mask = tf.constant([[True, True, False, False], [True, True, True, True]])
    ours.build(x.shape)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(x, mask=mask), theirs(x, mask=mask), rtol=1e-6)


def test_the_configuration_makes_the_same_layer_again() -> None:
    layer = LSTM(3, weight_drop=0.5, return_sequences=True, name="mine")
    again = LSTM.from_config(layer.get_config())
    assert again.weight_drop == 0.5
    assert again.get_config() == layer.get_config()
