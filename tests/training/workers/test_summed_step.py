"""A step in parts is the step of all lanes: masks to the bit, numbers to rounding."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings, TrainingSettings
from llm_timecycle.model.activation_penalty import ActivationPenalty
from llm_timecycle.model.lane_masks import LaneLayout, apply_lane_mask, draw_lane_mask
from llm_timecycle.model.network import build_network, make_zero_states, read_parameters
from llm_timecycle.training.devices import ComputePlan
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.step import make_train_step
from llm_timecycle.training.workers.summed_step import Division, divide_step, make_summed_step
from llm_timecycle.training.workers.workers import ALONE, Workers

V, B, T = 7, 6, 5
MODEL = ModelSettings(
    embedding_dim=4,
    hidden_units=3,
    num_layers=1,
    dropout=0.3,
    embedding_dropout=0.2,
    weight_drop=0.2,
)
TOKENS, TARGETS = np.random.default_rng(1).integers(0, V, (2, B, T)).astype(np.int32)
KEEP = np.ones((B, T), np.float32)
KEEP[[1, 4], [2, 0]] = 0.0


class GradientsOf(Workers):
    """A worker whose sums are its own, and which keeps them as arrays."""

    def __init__(self, index: int, size: int) -> None:
        self.index, self.size = index, size
        self.seen: list[np.ndarray] = []

    def add(self, tensors: Any) -> list[tf.Tensor]:
        def keep(*arrays: np.ndarray) -> np.ndarray:
            self.seen = [np.array(array) for array in arrays]
            return np.float32(0.0)

        with tf.control_dependencies([tf.numpy_function(keep, list(tensors), tf.float32)]):
            return [tf.identity(tensor) for tensor in tensors]


def train(division: Division | None, workers: Workers = ALONE, steps: int = 3) -> Any:
    """Losses, norms, states and weights after some steps of all lanes that `workers` has."""
    network = build_network(MODEL, V, seed=1)
    optimizer = make_optimizer(TrainingSettings(learning_rate=0.05))
    optimizer.build(network.trainable_variables)
    common: Any = {"has_documents": True, "penalty": ActivationPenalty(2.0, 1.0)}
    if division is None:
        step = make_train_step(network, optimizer, tf.distribute.get_strategy(), 0.5, 2, **common)
    else:
        step = make_summed_step(network, optimizer, workers, division, 0.5, **common)
    own = workers.own_lanes(B)
    window = [array[own.start : own.stop] for array in (TOKENS, TARGETS, KEEP)]
    states: Any = make_zero_states(MODEL, len(own))
    figures = []
    for _ in range(steps):
        loss, norm, states = step(window[0], window[1], states, window[2])
        figures.append((float(loss), float(norm)))
    return figures, [state.numpy() for state in states], read_parameters(network)


@pytest.fixture(scope="module")
def whole() -> Any:
    return train(None)


@pytest.mark.parametrize("groups", [1, 4])
def test_groups_one_after_the_other_are_the_step_of_all_lanes(whole: Any, groups: int) -> None:
    """4 groups of 6 lanes differ in size, and none is one of the 2 shards that draw dropout."""
    figures, states, weights = train(Division(LaneLayout(B, range(B), 2), groups, 1))
    np.testing.assert_allclose(figures, whole[0], rtol=1e-6)
    for found, expected in zip(states, whole[1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    for name, expected in whole[2].items():
        np.testing.assert_allclose(weights[name], expected, rtol=1e-4, atol=1e-6)


def test_the_gradients_of_three_workers_add_up_to_that_of_one_process() -> None:
    layouts = [LaneLayout(B, GradientsOf(index, 3).own_lanes(B), 2) for index in range(3)]
    parts = []
    for index, layout in enumerate(layouts):
        worker = GradientsOf(index, 3)
        train(Division(layout, 1, 1), worker, steps=1)
        parts.append([np.asarray(each) for each in worker.seen])
    sums = [np.sum(each, axis=0) for each in zip(*parts, strict=True)]
    alone = GradientsOf(0, 1)
    train(Division(LaneLayout(B, range(B), 2), 1, 1), alone, steps=1)
    for found, expected in zip(sums, alone.seen, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("variational", [False, True])
def test_masks_are_cut_from_those_of_one_process(variational: bool) -> None:
    """Drawn shard by shard, as `keras.layers.Dropout` draws them in a step of two shards."""
    layers = []
    for _ in range(4):
        layer = keras.layers.Dropout(0.4, (None, 1, None) if variational else None, seed=3)
        keras.Model(x := keras.Input((None, 3)), layer(x))
        layers.append(layer)
    x = tf.constant(np.random.default_rng(2).normal(size=(B, T, 3)), tf.float32)
    for _ in range(2):  # the seeds move on alike
        first, second = layers[0](x[:3], training=True), layers[0](x[3:], training=True)
        parts = []
        for index, layer in enumerate(layers[1:]):
            own = range(2 * index, 2 * index + 2)
            mask = draw_lane_mask(layer, LaneLayout(B, own, 2), tf.constant(T))
            assert mask.shape[1] == (1 if variational else T)
            parts.append(apply_lane_mask(layer, x[2 * index : 2 * index + 2], mask))
        assert np.array_equal(tf.concat(parts, 0), tf.concat([first, second], 0))
    assert 0.0 in first.numpy()


@pytest.mark.parametrize(
    ("accumulate", "size", "groups", "shards"),
    [(4, 1, 4, 2), (4, 2, 2, 2), (3, 2, 2, 2), (1, 4, 1, 2)],
)
def test_groups_of_several_workers_are_computed_at_the_same_time(
    accumulate: int, size: int, groups: int, shards: int
) -> None:
    plan = ComputePlan(2, 8, 1, "float32")
    training = TrainingSettings(batch_size=32, accumulate=accumulate)
    division = divide_step(training, plan, GradientsOf(0, size), layers=1)
    assert division == Division(LaneLayout(32, range(32 // size), 8), groups, shards)


def test_a_step_at_once_in_one_process_is_not_divided() -> None:
    assert divide_step(TrainingSettings(), ComputePlan(2, 2, 1, "float32"), ALONE, 1) is None
