"""The stage clock: stages add up to the step, and a delay planted in one shows up there alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.model import lstm
from llm_timecycle.model.loss import LossNetwork
from llm_timecycle.profiling.measure import stages
from llm_timecycle.profiling.measure.stages import measure_training
from llm_timecycle.profiling.results import TRAINING_STAGES, TrainingCycle
from llm_timecycle.text.batches import Lanes, cut_lanes

V = 50
SETTINGS = Settings.model_construct(
    model=ModelSettings(embedding_dim=8, hidden_units=16, num_layers=2),
    training=TrainingSettings(batch_size=8, sequence_length=12, precision="float32", threads=1),
)
LANES = cut_lanes(np.random.default_rng(0).integers(0, V, 8 * 12 * 6 + 1).astype(np.uint8), 8, 12)
DELAY_S = 0.03


def measure() -> TrainingCycle:
    return measure_training(SETTINGS, V, LANES, steps=9)


def sleep() -> np.float32:
    time.sleep(DELAY_S)
    return np.float32(1.0)


def delay_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses wait before they are handed on; their gradient does not."""
    plain = LossNetwork.compute_losses

    def compute(*arguments: Any, **options: Any) -> Any:
        losses, states = plain(*arguments, **options)
        with tf.control_dependencies([losses]):
            late = tf.numpy_function(sleep, [], tf.float32)
        with tf.control_dependencies([late]):
            return tf.identity(losses), states

    monkeypatch.setattr(LossNetwork, "compute_losses", compute)


def delay_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of the losses waits on its way back."""
    plain = LossNetwork.compute_losses

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def pass_on(losses: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def wait(gradient: tf.Tensor) -> tf.Tensor:
            with tf.control_dependencies([gradient]):
                late = tf.numpy_function(sleep, [], tf.float32)
            with tf.control_dependencies([late]):
                return tf.identity(gradient)

        return tf.identity(losses), wait

    def compute(*arguments: Any, **options: Any) -> Any:
        losses, states = plain(*arguments, **options)
        return pass_on(losses), states

    monkeypatch.setattr(LossNetwork, "compute_losses", compute)


def delay_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimizer is slow."""
    plain = stages.make_optimizer

    def make(settings: TrainingSettings) -> Any:
        optimizer = plain(settings)
        update_step = optimizer.update_step

        def update(gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
            if variable.shape == (V,):  # the output layer's bias
                with tf.control_dependencies([gradient]):
                    late = tf.numpy_function(sleep, [], tf.float32)
                with tf.control_dependencies([late]):
                    gradient = tf.identity(gradient)
            update_step(gradient, variable, rate)

        optimizer.update_step = update
        return optimizer

    monkeypatch.setattr(stages, "make_optimizer", make)


def delay_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every window takes long, far longer than a step of this little network."""
    plain = Lanes.read_window

    def read(lanes: Lanes, position: int) -> tuple[np.ndarray, np.ndarray]:
        time.sleep(DELAY_S)
        return plain(lanes, position)

    monkeypatch.setattr(Lanes, "read_window", read)


@pytest.fixture(scope="module")
def undisturbed() -> TrainingCycle:
    return measure()


@pytest.mark.parametrize(
    ("stage", "plant"),
    [
        ("input", delay_input),
        ("forward", delay_forward),
        ("backward", delay_backward),
        ("update", delay_update),
    ],
)
def test_a_planted_delay_shows_up_in_its_stage_and_nowhere_else(
    stage: str,
    plant: Callable[[pytest.MonkeyPatch], None],
    undisturbed: TrainingCycle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    after = measure()
    added = {
        name: after.stages[name].median_s - undisturbed.stages[name].median_s
        for name in TRAINING_STAGES
    }
    if stage == "input":  # a part of the delay is hidden behind the step
        added[stage] += after.hidden_input.median_s
    assert 0.9 * DELAY_S < added[stage] < 1.5 * DELAY_S, added
    for name in set(TRAINING_STAGES) - {stage}:
        assert abs(added[name]) < 0.3 * DELAY_S, added


def test_the_stages_of_a_step_add_up_to_the_wall_time(undisturbed: TrainingCycle) -> None:
    assert list(undisturbed.stages) == list(TRAINING_STAGES)
    assert undisturbed.tokens == 8 * 12
    assert sum(undisturbed.share(stage) for stage in TRAINING_STAGES) == pytest.approx(1.0)
    # The step is a few milliseconds, so what the marks cost is a larger part of it than in earnest.
    assert 0.7 < undisturbed.closure < 1.6


def test_every_layer_has_its_own_times(undisturbed: TrainingCycle) -> None:
    assert list(undisturbed.layers) == ["embedding", "lstm_1", "lstm_2", "output"]
    for name, passes in undisturbed.layers.items():
        assert passes["forward"].median_s > 0, name
        assert len(passes["backward"].samples_s) == len(passes["forward"].samples_s)


def test_a_slow_layer_is_the_layer_that_shows_it(
    undisturbed: TrainingCycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = lstm.run_lstm

    def run(x: tf.Tensor, *state: tf.Tensor, kernel: tf.Tensor, **options: Any) -> Any:
        outputs, h, c = plain(x, *state, kernel=kernel, **options)
        if kernel.shape[0] == SETTINGS.model.hidden_units:  # the second layer
            with tf.control_dependencies([outputs]):
                late = tf.numpy_function(sleep, [], tf.float32)
            with tf.control_dependencies([late]):
                outputs = tf.identity(outputs)
        return outputs, h, c

    monkeypatch.setattr(lstm, "run_lstm", run)
    layers = measure().layers
    added = {
        name: layers[name]["forward"].median_s - passes["forward"].median_s
        for name, passes in undisturbed.layers.items()
    }
    assert added.pop("lstm_2") > 0.9 * DELAY_S
    assert max(abs(seconds) for seconds in added.values()) < 0.3 * DELAY_S, added


@pytest.mark.parametrize(("tick_s", "steps"), [(1e-4, 20), (1.0, 8)])
def test_slow_steps_are_fewer_where_their_number_is_left_open(tick_s: float, steps: int) -> None:
    """The clock moves by a tick each time it is asked: a step of each kind takes 8 or more."""
    ticks = itertools.count()
    cycle = measure_training(SETTINGS, V, LANES, now=lambda: tick_s * next(ticks))
    assert len(cycle.wall.samples_s) == steps
