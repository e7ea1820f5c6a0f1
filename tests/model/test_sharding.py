"""Training on several devices: the same numbers as on one, with the lanes distributed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from llm_timecycle.errors import ConfigError
from llm_timecycle.training.devices import choose_strategy

# Logical devices can only be made before TensorFlow is used: in a process that makes two.
PROGRAM = """
import json
import numpy as np
from llm_timecycle.model.tf_import import import_tensorflow
import_tensorflow()  # sooner than the import alone: without matplotlib, nor looking for garbage
import tensorflow as tf
from llm_timecycle.config.settings import ModelSettings, TrainingSettings
from llm_timecycle.model.network import build_network, make_zero_states, read_parameters
from llm_timecycle.training.devices import choose_strategy, configure_tensorflow, make_plan
from llm_timecycle.model.sharding import gather, read_first, distribute
from llm_timecycle.training.averaging import WeightAverage
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.step import make_train_step

devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
configure_tensorflow(make_plan(1, 8, "float32"))

def train(strategy):
    settings = ModelSettings(embedding_dim=5, hidden_units=6, num_layers=1)
    with strategy.scope():
        network = build_network(settings, 20, seed=1)
        optimizer = make_optimizer(TrainingSettings(learning_rate=1e-3))
        optimizer.build(network.trainable_variables)
        average = WeightAverage(network, strategy)
    step = make_train_step(network, optimizer, strategy, 0.1)
    rng = np.random.default_rng(0)
    states = [distribute(strategy, state) for state in make_zero_states(settings, 8)]
    numbers = [strategy.num_replicas_in_sync]
    for number in range(1, 4):
        ids = rng.integers(0, 20, (8, 5 + number)).astype(np.int32)
        windows = distribute(strategy, ids[:, :-1]), distribute(strategy, ids[:, 1:])
        loss, norm, states = step(*windows, states)
        numbers += [read_first(strategy, loss), read_first(strategy, norm)]
        average.add(number)
    numbers += [float(np.abs(w).sum()) for w in read_parameters(network).values()]
    numbers += gather(strategy, states[0]).ravel().tolist()
    with average.apply():
        numbers += [float(np.abs(w).sum()) for w in read_parameters(network).values()]
    numbers += [float(np.abs(w).sum()) for w in read_parameters(network).values()]
    return numbers

print(json.dumps([train(tf.distribute.get_strategy()), train(choose_strategy(8))]))
"""


def test_two_replicas_train_as_one_does() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    )
    one, two = json.loads(result.stdout)
    assert (one[0], two[0]) == (1, 2)
    assert two[1:] == pytest.approx(one[1:], rel=1e-4, abs=1e-6)


def test_lanes_that_cannot_be_distributed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    devices = tf.config.list_logical_devices("CPU") * 3
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: devices if kind == "CPU" else []
    )
    with pytest.raises(ConfigError, match="received 8; expected a multiple of the 3 devices"):
        choose_strategy(8)
