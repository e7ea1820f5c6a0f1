"""Training on documents: steps against the twin, and gradients as of each document alone."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings, TrainingSettings
from llm_timecycle.model.loss import LossNetwork
from llm_timecycle.model.network import (
    build_network,
    list_parameters,
    make_zero_states,
    read_parameters,
)
from llm_timecycle.reference import network as twin
from llm_timecycle.reference import optimizers
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.step import make_train_step

SETTINGS = ModelSettings(embedding_dim=3, hidden_units=4, num_layers=2)
TOKENS, TARGETS = np.random.default_rng(3).integers(0, 7, (2, 4, 6)).astype(np.int32)
KEEP = np.ones((4, 6), np.float32)
KEEP[0, 2] = KEEP[1, 0] = KEEP[2, [1, 5]] = 0.0  # the fourth lane has no document start


@pytest.mark.parametrize("shards", [1, 2])
def test_a_step_is_the_twins(shards: int) -> None:
    network = build_network(SETTINGS, 7, seed=1)
    params = {name: w.astype(np.float64) for name, w in read_parameters(network).items()}
    optimizer = make_optimizer(TrainingSettings(optimizer="sgd", learning_rate=0.5))
    strategy = tf.distribute.get_strategy()
    step = make_train_step(network, optimizer, strategy, None, shards, has_documents=True)
    states = [tf.ones_like(state) for state in make_zero_states(SETTINGS, 4)]
    loss, _, states = step(TOKENS, TARGETS, states, KEEP)
    wide = [np.ones((4, 4)) for _ in states]
    expected, gradients, wide = twin.loss_and_gradients(params, TOKENS, TARGETS, wide, keep=KEEP)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    for found, wanted in zip(states, wide, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    descended = optimizers.descend(params, gradients, 0.5)
    for name, weight in read_parameters(network).items():
        np.testing.assert_allclose(weight, descended[name], rtol=1e-4, atol=1e-6, err_msg=name)


def differentiate(
    network: object, tokens: np.ndarray, targets: np.ndarray, keep: np.ndarray | None
) -> list[np.ndarray]:
    """The gradient of the sum of the losses, by parameter."""
    states = make_zero_states(SETTINGS, len(tokens))
    with tf.GradientTape() as tape:
        losses, _ = LossNetwork(network).compute_losses(
            tf.constant(tokens), tf.constant(targets), states, True, keep
        )
        total = tf.reduce_sum(losses)
    variables = [variable.value for variable in list_parameters(network).values()]
    return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(total, variables)]


def test_the_gradient_of_a_window_is_the_sum_of_those_of_its_documents() -> None:
    network = build_network(SETTINGS, 7, seed=1)
    keep = np.ones((4, 6), np.float32)
    keep[:, 2] = 0.0
    whole = differentiate(network, TOKENS, TARGETS, tf.constant(keep))
    first = differentiate(network, TOKENS[:, :2], TARGETS[:, :2], None)
    second = differentiate(network, TOKENS[:, 2:], TARGETS[:, 2:], None)
    for got, one, two in zip(whole, first, second, strict=True):
        np.testing.assert_allclose(got, one + two, rtol=1e-4, atol=1e-6)
