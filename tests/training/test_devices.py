"""The compute plan: threads, shards and precision; and that shards change no number."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.model.network import build_network, make_zero_states, read_parameters
from llm_timecycle.system import count_cores
from llm_timecycle.training import devices
from llm_timecycle.training.devices import ComputePlan, make_plan, read_plan, resolve_machine
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.step import make_train_step


@pytest.mark.parametrize(
    ("threads", "lanes", "shards", "threads_per_shard"),
    [
        (2, 64, 2, 1),
        (1, 64, 1, 1),
        (2, 7, 1, 2),  # four lanes per shard, or they stay together
        (8, 16, 4, 2),
        (3, 64, 3, 1),
        (4, 1, 1, 4),
    ],
)
def test_each_shard_has_four_lanes_or_more(
    threads: int, lanes: int, shards: int, threads_per_shard: int
) -> None:
    expected = ComputePlan(threads, shards, threads_per_shard, "float32")
    assert make_plan(threads, lanes, "float32") == expected


@pytest.mark.parametrize(("layers", "shards"), [(1, 256), (2, 128), (64, 4)])
def test_shards_are_no_more_than_can_be_traced(layers: int, shards: int) -> None:
    plan = make_plan(1024, 65_536, "float32", layers)
    assert (plan.shards, plan.threads_per_shard) == (shards, 1024 // shards)


def test_a_resolved_machine_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "configure_tensorflow", lambda plan: None)
    monkeypatch.setattr(devices, "choose_precision", lambda *arguments: "mixed_bfloat16")
    monkeypatch.setattr(devices, "count_cores", lambda: 3)
    plan = resolve_machine(Settings(), 10)
    assert plan == ComputePlan(3, 3, 1, "mixed_bfloat16")
    assert read_plan(plan.fill_in(Settings())) == plan


def test_what_the_settings_say_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "configure_tensorflow", lambda plan: None)
    training = TrainingSettings(threads=2, precision="float32", learning_rate=0.5)
    settings = Settings(training=training)
    plan = resolve_machine(settings, 10)
    assert plan == ComputePlan(2, 2, 1, "float32")
    assert plan.fill_in(settings) == settings


@pytest.mark.parametrize(
    ("optimizer", "hidden_units", "rate"),
    [("adam", 512, 3 / 512), ("nadam", 256, 3 / 256), ("adamw", 64, 0.016), ("sgd", 512, 1.0)],
)
def test_a_rate_that_is_not_set_follows_the_size_of_the_model(
    optimizer: Literal["adam", "nadam", "adamw", "sgd"], hidden_units: int, rate: float
) -> None:
    settings = Settings(
        model=ModelSettings(hidden_units=hidden_units),
        training=TrainingSettings(optimizer=optimizer),
    )
    filled = ComputePlan(1, 1, 1, "float32").fill_in(settings)
    assert filled.training.learning_rate == rate


def test_settings_that_are_not_resolved_have_no_plan() -> None:
    with pytest.raises(ValueError, match="resolve_machine"):
        read_plan(Settings())


def test_cores_are_at_most_the_processors_that_this_process_may_use() -> None:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable is not None
    assert 1 <= count_cores() <= usable


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_shards_train_to_the_same_weights(optimizer: str) -> None:
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
