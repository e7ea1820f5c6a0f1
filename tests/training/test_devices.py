"""The threads: how many, how they share the lanes, and that sharing changes no number."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings, TrainingSettings
from llm_timecycle.model.network import build_network, make_zero_states, read_parameters
from llm_timecycle.system import count_cores
from llm_timecycle.training.devices import Threads, choose_threads
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.step import make_train_step


@pytest.mark.parametrize(
    ("threads", "lanes", "expected"),
    [
        (2, 64, Threads(2, 1)),
        (1, 64, Threads(1, 1)),
        (2, 7, Threads(1, 2)),  # four lanes a shard, or they stay together
        (8, 16, Threads(4, 2)),
        (3, 64, Threads(3, 1)),
        (4, 1, Threads(1, 4)),
    ],
)
def test_each_part_has_four_lanes_or_more(threads: int, lanes: int, expected: Threads) -> None:
    assert choose_threads(threads, lanes) == expected


def test_cores_are_at_most_the_processors_that_this_process_may_use() -> None:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable is not None
    assert 1 <= count_cores() <= usable


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_parts_of_the_lanes_train_to_the_same_weights(optimizer: str) -> None:
    settings = ModelSettings(embedding_dim=4, hidden_units=6, num_layers=2)
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 9, (3, 2, 7, 5)).astype(np.int32)  # 7 lanes: shards of 2, 2 and 3
    trained = []
    for shards in (1, 3):
        network = build_network(settings, 9, seed=1)
        training = TrainingSettings(optimizer=optimizer, learning_rate=0.01, weight_decay=0.01)
        step = make_train_step(
            network, make_optimizer(training), tf.distribute.get_strategy(), 0.1, shards
        )
        states = make_zero_states(settings, 7)
        for tokens, targets in windows:
            loss, _, states = step(tokens, targets, states)
        trained.append((float(loss), states, read_parameters(network)))
    (loss_1, states_1, weights_1), (loss_3, states_3, weights_3) = trained
    assert loss_3 == pytest.approx(loss_1, rel=1e-5)
    for one, three in zip(states_1, states_3, strict=True):
        np.testing.assert_allclose(three, one, rtol=1e-4, atol=1e-5)
    for name, weight in weights_1.items():
        np.testing.assert_allclose(weights_3[name], weight, rtol=1e-3, atol=3e-5, err_msg=name)
