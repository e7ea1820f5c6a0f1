"""The reference model is pinned (layers, shapes, parameters), and each option does its work."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.model.lstm import LSTM
from llm_timecycle.model.network import (
    assign_parameters,
    build_network,
    list_parameters,
    list_random_states,
    make_zero_states,
    read_parameters,
    start_from_frequencies,
)

SMALL = {"embedding_dim": 3, "hidden_units": 4}


def run(network: keras.Model, settings: ModelSettings, training: bool = False) -> np.ndarray:
    tokens = tf.constant([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])
    return network([tokens, *make_zero_states(settings, 2)], training=training)[0].numpy()


def test_the_reference_model_has_its_layers_shapes_and_parameters() -> None:
    network = build_network(ModelSettings(), 10_000, seed=1)
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    assert [layer.name for layer in layers] == ["embedding", "lstm_1", "lstm_2", "output"]
    embedding, lstm_1, lstm_2, output = layers
    assert isinstance(embedding, keras.layers.Embedding)
    assert isinstance(lstm_1, keras.layers.LSTM)
    assert lstm_1.units == lstm_2.units == 512
    assert lstm_1.return_sequences
    assert lstm_2.return_sequences
    assert isinstance(output, keras.layers.TimeDistributed)
    assert isinstance(output.layer, keras.layers.Dense)
    assert {n: tuple(v.shape) for n, v in list_parameters(network).items()} == {
        "embedding.embeddings": (10_000, 256),
        "lstm_1.kernel": (256, 2048),
        "lstm_1.recurrent_kernel": (512, 2048),
        "lstm_1.bias": (2048,),
        "lstm_2.kernel": (512, 2048),
        "lstm_2.recurrent_kernel": (512, 2048),
        "lstm_2.bias": (2048,),
        "output.kernel": (512, 10_000),
        "output.bias": (10_000,),
    }
    # 10000*256 + 4*512*(256+512+1) + 4*512*(512+512+1) + 512*10000+10000
    assert network.count_params() == 11_364_112


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 3},
        {"tie_embeddings": True},
        {"tie_embeddings": True, "embedding_dim": 4},
        {"num_layers": 3, "layer_norm": True, "residual": True, "tie_embeddings": True},
        {"num_layers": 1, "layer_norm": True, "residual": True, "embedding_dim": 4},
    ],
)
def test_names_and_shapes_are_those_that_the_settings_imply(options: dict[str, int]) -> None:
    settings = ModelSettings(**{**SMALL, **options})
    network = build_network(settings, 7, seed=1)
    shapes = {name: tuple(v.shape) for name, v in list_parameters(network).items()}
    assert shapes == compute_parameter_shapes(settings, 7)
    assert list(shapes) == list(compute_parameter_shapes(settings, 7))


def test_norms_and_residual_connections_are_where_the_settings_put_them() -> None:
    settings = ModelSettings(**SMALL, layer_norm=True, residual=True, dropout=0.1)
    network = build_network(settings, 7, seed=1)
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    assert [layer.name for layer in layers] == [
        *("embedding", "input_dropout", "lstm_1"),  # 3 numbers in, 4 out: nothing is added
        *("layer_norm_2", "layer_dropout_1", "lstm_2", "residual_2"),
        *("layer_norm_output", "output_dropout", "output"),
    ]
    same_width = ModelSettings(embedding_dim=4, hidden_units=4, residual=True)
    names = {layer.name for layer in build_network(same_width, 7, seed=1).layers}
    assert {"residual_1", "residual_2"} <= names


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    settings = ModelSettings(**SMALL)
    first, again, other = (
        read_parameters(build_network(settings, 7, seed=seed)) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["lstm_1.kernel"], other["lstm_1.kernel"])
    assert not np.array_equal(first["lstm_2.recurrent_kernel"], first["lstm_1.recurrent_kernel"])


def test_the_forget_gate_begins_open() -> None:
    bias = read_parameters(build_network(ModelSettings(**SMALL), 7, seed=1))["lstm_1.bias"]
    assert bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8


def test_the_embedding_starts_wide_enough_to_drive_the_gates() -> None:
    sizes = ModelSettings(embedding_dim=100, hidden_units=100)
    untied = read_parameters(build_network(sizes, 500, seed=1))
    tied_sizes = sizes.model_copy(update={"tie_embeddings": True})
    tied = read_parameters(build_network(tied_sizes, 500, seed=1))
    glorot = np.sqrt(2 / (100 + 400))
    assert untied["embedding.embeddings"].std() == pytest.approx(1.0, rel=0.02)
    assert untied["lstm_1.kernel"].std() == pytest.approx(glorot, rel=0.02)
    assert tied["embedding.embeddings"].std() == pytest.approx(0.1, rel=0.02)
    assert tied["lstm_1.kernel"].std() == pytest.approx(8 * glorot, rel=0.02)
    assert tied["lstm_2.kernel"].std() == pytest.approx(glorot, rel=0.02)


def test_a_network_that_starts_from_frequencies_predicts_nearly_those() -> None:
    settings = ModelSettings(**SMALL)
    network = build_network(settings, 7, seed=1)
    start_from_frequencies(network, np.array([0, 1, 3, 7, 0, 0, 14]))
    # Counts plus one: 1, 2, 4, 8, 1, 1, 15 of 32.
    expected = np.array([1, 2, 4, 8, 1, 1, 15]) / 32
    np.testing.assert_allclose(tf.nn.softmax(run(network, settings))[0, 0], expected, rtol=0.03)
    bias = read_parameters(network)["output.bias"]
    np.testing.assert_allclose(np.exp(bias), expected, rtol=1e-6)


def test_weights_read_from_one_network_and_assigned_to_another_give_the_same_logits() -> None:
    settings = ModelSettings(**SMALL)
    a, b = build_network(settings, 7, seed=1), build_network(settings, 7, seed=2)
    assert not np.array_equal(run(a, settings), run(b, settings))
    assign_parameters(b, read_parameters(a))
    assert np.array_equal(run(a, settings), run(b, settings))


def test_a_window_in_two_halves_with_the_state_carried_is_the_window_in_one() -> None:
    settings = ModelSettings(**SMALL)
    network = build_network(settings, 7, seed=1)
    tokens = tf.constant([[1, 2, 3, 4, 5, 6]])
    whole, *_ = network([tokens, *make_zero_states(settings, 1)])
    first, *states = network([tokens[:, :2], *make_zero_states(settings, 1)])
    second, *_ = network([tokens[:, 2:], *states])
    np.testing.assert_allclose(whole, np.concatenate([first, second], axis=1), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({"input_dropout": 0.5}, {"input_dropout"}),
        ({"layer_dropout": 0.5}, {"layer_dropout_1"}),
        ({"output_dropout": 0.5}, {"output_dropout"}),
        ({"dropout": 0.5}, {"input_dropout", "layer_dropout_1", "output_dropout"}),
        ({"dropout": 0.5, "layer_dropout": 0.0}, {"input_dropout", "output_dropout"}),
    ],
)
def test_dropout_is_where_the_settings_put_it_and_only_in_training(
    options: dict[str, float], layers: set[str]
) -> None:
    settings = ModelSettings(**SMALL, **options)
    network = build_network(settings, 7, seed=1)
    assert {layer.name for layer in network.layers if "dropout" in layer.name} == layers
    assert np.array_equal(run(network, settings), run(network, settings))
    assert not np.array_equal(run(network, settings, True), run(network, settings, True))
    assert {name.split(".")[0] for name in list_random_states(network)} >= layers


def test_variational_dropout_drops_the_same_values_at_every_step() -> None:
    settings = ModelSettings(**SMALL, input_dropout=0.5, variational_dropout=True)
    network = build_network(settings, 7, seed=1)
    dropped = network.get_layer("input_dropout")(tf.ones((2, 6, 3)), training=True).numpy()
    assert np.array_equal(dropped, np.repeat(dropped[:, :1], 6, axis=1))
    assert set(np.unique(dropped)) == {0.0, 2.0}
    plain = build_network(ModelSettings(**SMALL, input_dropout=0.5), 7, seed=1)
    dropped = plain.get_layer("input_dropout")(tf.ones((2, 6, 3)), training=True).numpy()
    assert not np.array_equal(dropped, np.repeat(dropped[:, :1], 6, axis=1))


def test_weight_drop_zeroes_recurrent_weights_in_training_only() -> None:
    layer = LSTM(8, weight_drop=0.5, seed=3, return_sequences=True)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 3)), tf.float32)
    assert np.array_equal(layer(x), layer(x))
    dropped = layer(x, training=True)
    # The first step sees a zero state, so dropped recurrent weights cannot change it.
    np.testing.assert_allclose(dropped[:, 0], layer(x)[:, 0], rtol=1e-6)
    assert not np.allclose(dropped[:, 1:], layer(x)[:, 1:])


def test_weight_drop_scales_what_it_keeps() -> None:
    layer = LSTM(40, weight_drop=0.25, seed=3)
    layer.build((None, None, 1))
    kept = keras.random.dropout(layer.cell.recurrent_kernel, 0.25, seed=1).numpy()
    is_kept = kept != 0
    assert 0.72 < is_kept.mean() < 0.78
    np.testing.assert_allclose(
        kept[is_kept], layer.cell.recurrent_kernel.numpy()[is_kept] / 0.75, rtol=1e-6
    )


def test_a_bfloat16_network_gives_nearly_the_same_logits_and_float32_states() -> None:
    settings = ModelSettings(**SMALL)
    exact = build_network(settings, 7, seed=1)
    half = build_network(settings, 7, seed=1, precision="mixed_bfloat16")
    tokens = tf.constant([[1, 2, 3]])
    logits, *states = half([tokens, *make_zero_states(settings, 1)])
    reference, *_ = exact([tokens, *make_zero_states(settings, 1)])
    assert {state.dtype for state in states} == {tf.float32}
    np.testing.assert_allclose(tf.cast(logits, tf.float32), reference, atol=4e-3)
