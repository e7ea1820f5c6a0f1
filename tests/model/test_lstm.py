"""Our LSTM layer is Keras' LSTM: outputs, states and every gradient, over random shapes."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from llm_timecycle.model.lstm import LSTM
from llm_timecycle.reference.lstm import LSTMWeights, run_backward, run_forward

SHAPES = pytest.mark.parametrize(
    ("shape", "seed"), [((1, 1, 6, 3), 1), ((1, 7, 1, 8), 2), ((5, 1, 8, 1), 3), ((3, 3, 2, 5), 4)]
)
"""B, H, T and D: the loop is traced and compiled anew for each, which takes most of the time."""


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


@SHAPES
def test_outputs_states_and_gradients_are_those_of_keras(
    shape: tuple[int, int, int, int], seed: int
) -> None:
    (B, H, T, D), rng = shape, np.random.default_rng(seed)
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


@SHAPES
def test_where_it_keeps_nothing_values_and_gradients_are_those_of_the_twin(
    shape: tuple[int, int, int, int], seed: int
) -> None:
    (B, H, T, D), rng = shape, np.random.default_rng(seed)
    keep = rng.integers(0, 2, (B, T)).astype(float)
    x, *states = (rng.normal(size=shape) for shape in [(B, T, D), (B, H), (B, H)])
    weights = [rng.normal(size=shape) for shape in [(B, T, H), (B, H), (B, H)]]
    layer = LSTM(H, return_sequences=True, return_state=True)
    layer.build((B, T, D))
    params = LSTMWeights(*(v.numpy().astype(np.float64) for v in layer.trainable_variables))
    *values, steps = run_forward(x, *states, params, keep)
    dx, dW, dU, db, dh, dc = run_backward(*weights, steps, params, keep)

    def to_32(arrays: list[np.ndarray]) -> list[tf.Tensor]:
        return [tf.constant(array, tf.float32) for array in arrays]

    def run(x: tf.Tensor, initial_state: list[tf.Tensor]) -> list[tf.Tensor]:
        return layer(x, initial_state=initial_state, keep=tf.constant(keep, tf.float32))

    run.trainable_variables = layer.trainable_variables  # type: ignore[attr-defined]
    got_values, got = differentiate(run, *to_32([x]), to_32(states), to_32(weights))
    for found, expected in zip([*got_values, *got], [*values, dx, dh, dc, dW, dU, db], strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_keeping_everything_changes_nothing() -> None:
    layer = LSTM(3, return_sequences=True)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 5)), tf.float32)
    assert np.array_equal(layer(x), layer(x, keep=tf.ones((2, 4))))


def test_keep_beside_a_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="keep work with Keras' default activations and no mask"):
        LSTM(3)(tf.ones((2, 4, 5)), mask=tf.ones((2, 4), tf.bool), keep=tf.ones((2, 4)))


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


@pytest.mark.parametrize("seed", range(3))
def test_bfloat16_products_stay_within_their_rounding(seed: int) -> None:
    """Outputs, states and gradients against float64 truth; a bfloat16 number is right to 2^-9."""
    rng = np.random.default_rng(seed)
    B, T, D, H = 5, 12, 16, 24
    layer = LSTM(H, return_sequences=True, return_state=True, dtype="mixed_bfloat16")
    x, states = rng.normal(size=(B, T, D)), [rng.normal(size=(B, H)) * 0.3 for _ in range(2)]
    layer.build((B, T, D))
    params = LSTMWeights(*(v.numpy().astype(np.float64) for v in layer.trainable_variables))
    outputs, h, c, steps = run_forward(x, *states, params)
    weights = [rng.normal(size=array.shape) for array in (outputs, h, c)]
    expected = run_backward(*weights, steps, params)

    x_32, states_32 = tf.constant(x, tf.float32), [tf.constant(s, tf.float32) for s in states]
    with tf.GradientTape() as tape:
        tape.watch([x_32, *states_32])
        results = layer(x_32, initial_state=states_32)
        loss = tf.add_n(
            [
                tf.reduce_sum(tf.cast(r, tf.float32) * w)
                for r, w in zip(results, weights, strict=True)
            ]
        )
    variables = [v.value for v in layer.trainable_variables]
    gradients = tape.gradient(loss, [x_32, *states_32, *variables])
    assert [r.dtype for r in results] == [tf.bfloat16, tf.float32, tf.float32]
    dx, dW, dU, db, dh, dc = expected
    truth = [outputs, h, c, dx, dh, dc, dW, dU, db]
    for number, (got, wanted) in enumerate(zip([*results, *gradients], truth, strict=True)):
        error = np.linalg.norm(tf.cast(got, tf.float32) - wanted) / np.linalg.norm(wanted)
        assert error < 4 * 2.0**-8, (number, error)


def test_a_mask_keeps_the_state_of_masked_steps() -> None:
    layer = LSTM(3, return_sequences=True, return_state=True)
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 5, 2)), tf.float32)
    _, h_masked, c_masked = layer(x, mask=tf.constant([[True, True, True, False, False]]))
    _, h, c = layer(x[:, :3])
    np.testing.assert_allclose(h_masked, h, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(c_masked, c, rtol=1e-5, atol=1e-6)


def test_weights_saved_with_one_layer_serve_the_other(tmp_path: Path) -> None:
    def build(layer: type[keras.layers.LSTM]) -> keras.Model:
        tokens = keras.Input((None,), dtype="int32")
        x = keras.layers.Embedding(7, 4)(tokens)
        x = layer(5, return_sequences=True, name="lstm")(x)
        return keras.Model(tokens, keras.layers.Dense(7)(x))

    ours, theirs = build(LSTM), build(keras.layers.LSTM)
    tokens = tf.constant([[1, 2, 3, 4, 6, 0]])
    for source, target in ((ours, theirs), (theirs, ours)):
        source.set_weights([np.asarray(w) * 1.5 for w in source.get_weights()])
        names = [
            variable.path.split("/")[-1]
            for variable in source.get_layer("lstm").trainable_variables
        ]
        assert names == ["kernel", "recurrent_kernel", "bias"]
        safetensors.numpy.save_file(
            {f"{n}": w for n, w in enumerate(source.get_weights())}, tmp_path / "weights"
        )
        saved = safetensors.numpy.load_file(tmp_path / "weights")
        target.set_weights([saved[f"{n}"] for n in range(len(saved))])
        np.testing.assert_allclose(source(tokens), target(tokens), rtol=1e-5, atol=1e-6)
