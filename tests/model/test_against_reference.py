"""The Keras network and the training step against their NumPy twins, over random shapes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings, TrainingSettings
from llm_timecycle.model.activation_penalty import ActivationPenalty
from llm_timecycle.model.loss import LossNetwork
from llm_timecycle.model.network import (
    assign_parameters,
    build_network,
    list_parameters,
    make_zero_states,
    read_parameters,
)
from llm_timecycle.model.sharding import join_lanes, split_lanes
from llm_timecycle.reference import network as twin
from llm_timecycle.reference import optimizers
from llm_timecycle.reference.activation_penalty import PenaltyWeights
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.step import make_train_step

SHAPES = ((4, 3, 8, 11), (5, 6, 3, 17))
"""B, H, T and V: the loop of the LSTM is traced and compiled anew for each, which takes most of the
time."""


def draw_case(
    seed: int, **options: Any
) -> tuple[ModelSettings, int, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Random settings, vocabulary size, tokens, targets (B, T) and states."""
    rng = np.random.default_rng(seed)
    B, H, T, V = SHAPES[seed // 2 % len(SHAPES)]
    E, L = (int(n) for n in rng.integers((1, 1), (8, 4)))
    L = options.pop("num_layers", L)
    E = H if options.pop("has_one_width", False) else E
    settings = ModelSettings(
        embedding_dim=E, hidden_units=H, num_layers=L, tie_embeddings=bool(seed % 2), **options
    )
    tokens, targets = (rng.integers(0, V, (B, T)).astype(np.int32) for _ in range(2))
    states = [rng.normal(size=(B, H)) for _ in range(2 * L)]
    return settings, V, tokens, targets, states


def widen(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: weight.astype(np.float64) for name, weight in weights.items()}


NORMALIZED = {"layer_norm": True, "num_layers": 3}
ADDED = {"residual": True, "num_layers": 3}


@pytest.mark.parametrize(
    ("seed", "shards", "options"),
    [
        *((2, 1, {}), (3, 1, {}), (4, 2, {}), (5, 3, {})),
        *((6, 2, NORMALIZED), (7, 1, ADDED), (8, 1, {**ADDED, "has_one_width": True})),
        (9, 2, {**NORMALIZED, **ADDED, "has_one_width": True}),
        (10, 3, {**NORMALIZED, **ADDED}),
    ],
)
def test_logits_loss_and_every_gradient_are_those_of_the_twin(
    seed: int, shards: int, options: dict[str, Any]
) -> None:
    settings, V, tokens, targets, states = draw_case(seed, **options)
    network = build_network(settings, V, seed=seed)
    rng = np.random.default_rng(seed)
    drawn = {n: rng.normal(size=w.shape) * 0.3 for n, w in read_parameters(network).items()}
    assign_parameters(network, drawn)
    states_32 = [tf.constant(state, tf.float32) for state in states]
    loss_network = LossNetwork(network)
    with tf.GradientTape() as tape:
        shares = split_lanes([tf.constant(tokens), tf.constant(targets), *states_32], shards)
        results = [loss_network.compute_losses(x, y, s, training=True) for x, y, *s in shares]
        token_losses, *new_states = join_lanes([[losses, *after] for losses, after in results])
        loss = tf.reduce_mean(token_losses)
    logits, *_ = network([tf.constant(tokens), *states_32])
    variables = list_parameters(network)
    gradients = tape.gradient(loss, [v.value for v in variables.values()])

    params = widen(read_parameters(network))
    residual = settings.residual
    expected_logits, expected_states, _ = twin.forward(params, tokens, states, residual=residual)
    expected_loss, expected, _ = twin.loss_and_gradients(
        params, tokens, targets, states, residual=residual
    )
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-4, atol=1e-5)
    assert float(loss) == pytest.approx(expected_loss, rel=1e-5)
    for got, wanted in zip(new_states, expected_states, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    for name, gradient in zip(variables, gradients, strict=True):
        dense = tf.convert_to_tensor(gradient)
        np.testing.assert_allclose(dense, expected[name], rtol=1e-3, atol=2e-6, err_msg=name)


def test_dropout_on_the_recurrent_weights_is_the_twins_with_the_same_mask() -> None:
    """The draw of a weight drop is read back from the kernel that the layer would use."""
    import keras

    settings = ModelSettings(embedding_dim=3, hidden_units=4, num_layers=1, weight_drop=0.5)
    network = build_network(settings, 7, seed=2)
    layer = network.get_layer("lstm_1")
    seed_before = layer.weight_drop_seed.state.numpy()
    tokens = np.array([[1, 2, 3, 4, 5]], np.int32)
    logits, *_ = network([tf.constant(tokens), *make_zero_states(settings, 1)], training=True)
    layer.weight_drop_seed.state.assign(seed_before)
    ones = tf.ones_like(layer.cell.recurrent_kernel)
    mask = keras.random.dropout(ones, 0.5, seed=layer.weight_drop_seed).numpy()
    assert 0 < (mask == 0).sum() < mask.size
    params = widen(read_parameters(network))
    expected, *_ = twin.forward(
        params,
        tokens,
        twin.make_zero_states(params, 1),
        {"lstm_1.recurrent_kernel": mask.astype(np.float64)},
    )
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("tied", "norm"), [(False, False), (True, True)])
def test_dropped_words_and_penalties_are_the_twins(tied: bool, norm: bool) -> None:
    """In two shards, with documents; the gradient has the penalties, the loss has not."""
    settings = ModelSettings(
        embedding_dim=3, hidden_units=4, embedding_dropout=0.4, tie_embeddings=tied, layer_norm=norm
    )
    network = build_network(settings, 7, seed=3)
    rng = np.random.default_rng(3)
    tokens, targets = rng.integers(0, 7, (2, 5, 6)).astype(np.int32)
    keep = rng.integers(0, 2, (5, 6)).astype(np.float64)
    loss_network = LossNetwork(network, ActivationPenalty(alpha=2.0, beta=3.0))
    drawn = loss_network.draw_step()
    with tf.GradientTape() as tape:
        lanes = [tf.constant(tokens), tf.constant(targets), tf.constant(keep, tf.float32)]
        results = [
            loss_network.compute_losses(x, y, states, training=True, keep=kept, drawn=drawn)
            for x, y, kept, *states in split_lanes([*lanes, *make_zero_states(settings, 5)], 2)
        ]
        token_losses, *_ = join_lanes([[losses, *after] for losses, after in results])
        loss = tf.reduce_mean(token_losses)
    variables = list_parameters(network)
    gradients = tape.gradient(loss, [v.value for v in variables.values()])

    params = widen(read_parameters(network))
    mask = drawn["embedding"].numpy().astype(np.float64)[:, None]
    assert 0 < (mask == 0).sum() < 7
    inputs = (params, tokens, targets, twin.make_zero_states(params, 5))
    masks = {"embedding.embeddings": mask}
    expected_loss, plain, _ = twin.loss_and_gradients(*inputs, masks, keep)
    _, expected, _ = twin.loss_and_gradients(
        *inputs, masks, keep, penalty=PenaltyWeights(alpha=2.0, beta=3.0)
    )
    assert float(loss) == pytest.approx(expected_loss, rel=1e-5)
    for name, gradient in zip(variables, gradients, strict=True):
        dense = tf.convert_to_tensor(gradient)
        np.testing.assert_allclose(dense, expected[name], rtol=1e-3, atol=2e-6, err_msg=name)
    moved = expected["lstm_2.kernel"] - plain["lstm_2.kernel"]
    assert np.abs(moved).max() > 1e-3


@pytest.mark.parametrize(
    ("optimizer_name", "clip_norm", "decay"),
    [
        *(("adam", 0.05, 0.0), ("adamw", None, 0.9), ("nadam", 0.05, 0.9)),
    ],
)
def test_training_steps_are_the_twins_with_clipping_and_adam(
    optimizer_name: Literal["adam", "nadam", "adamw"], clip_norm: float | None, decay: float
) -> None:
    settings, V, tokens, targets, _ = draw_case(2, layer_norm=decay > 0, num_layers=2)
    network = build_network(settings, V, seed=1)
    training = TrainingSettings(
        optimizer=optimizer_name,
        learning_rate=0.01,
        gradient_clip_norm=clip_norm,
        weight_decay=decay,
    )
    optimizer = make_optimizer(training)
    step = make_train_step(network, optimizer, tf.distribute.get_strategy(), clip_norm)
    states = make_zero_states(settings, len(tokens))
    params = widen(read_parameters(network))
    expected_states = twin.make_zero_states(params, len(tokens))
    moments = optimizers.start_adam(params)
    for t in range(1, 4):
        loss, norm, states = step(tokens, targets, states)
        expected_loss, gradients, expected_states = twin.loss_and_gradients(
            params, tokens, targets, expected_states
        )
        expected_norm = optimizers.compute_global_norm(gradients)
        if clip_norm is not None:
            assert expected_norm > clip_norm
            gradients, _ = optimizers.clip_by_global_norm(gradients, clip_norm)
        # Keras adds its epsilon before the bias correction of v, the paper after it.
        epsilon = 1e-7 / np.sqrt(1 - 0.999**t)
        params, moments = optimizers.step_adam(
            params,
            gradients,
            moments,
            learning_rate=0.01,
            epsilon=epsilon,
            nesterov=optimizer_name == "nadam",
            matrix_decay=decay,
        )
        assert float(loss) == pytest.approx(expected_loss, rel=1e-5)
        assert float(norm) == pytest.approx(expected_norm, rel=1e-4)
    for name, weight in read_parameters(network).items():
        np.testing.assert_allclose(weight, params[name], rtol=1e-3, atol=2e-5, err_msg=name)


def test_plain_sgd_is_gradient_descent() -> None:
    settings, V, tokens, targets, _ = draw_case(0)
    network = build_network(settings, V, seed=1)
    params = widen(read_parameters(network))
    training = TrainingSettings(optimizer="sgd", learning_rate=0.5)
    step = make_train_step(
        network, make_optimizer(training), tf.distribute.get_strategy(), clip_norm=None
    )
    step(tokens, targets, make_zero_states(settings, len(tokens)))
    states = twin.make_zero_states(params, len(tokens))
    _, gradients, _ = twin.loss_and_gradients(params, tokens, targets, states)
    for name, weight in read_parameters(network).items():
        expected = optimizers.descend(params, gradients, 0.5)[name]
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("optimizer_name", ["adamw", "nadam"])
def test_weight_decay_pulls_matrices_to_zero_and_leaves_vectors_alone(
    optimizer_name: Literal["nadam", "adamw"],
) -> None:
    """Without a gradient nothing else moves them."""
    settings, V, *_ = draw_case(0, layer_norm=True, num_layers=1)
    network = build_network(settings, V, seed=1)
    before = read_parameters(network)
    training = TrainingSettings(optimizer=optimizer_name, learning_rate=0.01, weight_decay=0.1)
    zeros = [tf.zeros(variable.shape) for variable in network.trainable_variables]
    make_optimizer(training).apply(zeros, network.trainable_variables)
    after = read_parameters(network)
    assert any(name.endswith("gamma") for name in before)
    for name, weight in before.items():
        is_vector = name.endswith(("bias", "gamma", "beta"))
        left = 1.0 if is_vector else 1.0 - 0.01 * 0.1
        np.testing.assert_allclose(after[name], left * weight, rtol=1e-6, err_msg=name)
