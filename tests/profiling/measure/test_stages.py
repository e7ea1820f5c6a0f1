"""The stages of a step: a planted delay shows up in its stage, on a clock that only delays move."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.model import lstm
from llm_timecycle.model.loss import LossNetwork
from llm_timecycle.profiling.analysis.flops import count_step_costs
from llm_timecycle.profiling.measure import stages
from llm_timecycle.profiling.measure.stages import measure_training
from llm_timecycle.profiling.results import TRAINING_STAGES
from llm_timecycle.text.batches import Lanes, cut_lanes

V = 50
SETTINGS = Settings.model_construct(
    model=ModelSettings(embedding_dim=8, hidden_units=16, num_layers=2),
    training=TrainingSettings(
        batch_size=8, sequence_length=12, precision="float32", threads=1, learning_rate=1e-3
    ),
)
ONE_LAYER = SETTINGS.model_copy(
    update={"model": SETTINGS.model.model_copy(update={"num_layers": 1})}
)
LANES = cut_lanes(np.random.default_rng(0).integers(0, V, 8 * 12 * 6 + 1).astype(np.uint8), 8, 12)
DELAY_S = 1.0


class Clock:
    """Moves only where a delay is planted; what delays the thread of the windows is its own."""

    def __init__(self) -> None:
        self._s = 0.0
        self._of_thread = threading.local()

    def now(self) -> float:
        return self._s + getattr(self._of_thread, "s", 0.0)

    def delay(self) -> np.float32:
        self._s += DELAY_S
        return np.float32(1.0)

    def delay_thread(self) -> None:
        self._of_thread.s = getattr(self._of_thread, "s", 0.0) + DELAY_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


def delay_forward(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """The losses wait before they are handed on; their gradient does not."""
    plain = LossNetwork.compute_losses

    def compute(*arguments: Any, **options: Any) -> Any:
        losses, states = plain(*arguments, **options)
        with tf.control_dependencies([losses]):
            late = tf.numpy_function(clock.delay, [], tf.float32)
        with tf.control_dependencies([late]):
            return tf.identity(losses), states

    monkeypatch.setattr(LossNetwork, "compute_losses", compute)


def delay_backward(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """The gradient of the losses waits on its way back."""
    plain = LossNetwork.compute_losses

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def pass_on(losses: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def wait(gradient: tf.Tensor) -> tf.Tensor:
            with tf.control_dependencies([gradient]):
                late = tf.numpy_function(clock.delay, [], tf.float32)
            with tf.control_dependencies([late]):
                return tf.identity(gradient)

        return tf.identity(losses), wait

    def compute(*arguments: Any, **options: Any) -> Any:
        losses, states = plain(*arguments, **options)
        return pass_on(losses), states

    monkeypatch.setattr(LossNetwork, "compute_losses", compute)


def delay_update(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """The optimizer is slow."""
    plain = stages.make_optimizer

    def make(settings: TrainingSettings) -> Any:
        optimizer = plain(settings)
        update_step = optimizer.update_step

        def update(gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
            if variable.shape == (V,):  # the output layer's bias
                with tf.control_dependencies([gradient]):
                    late = tf.numpy_function(clock.delay, [], tf.float32)
                with tf.control_dependencies([late]):
                    gradient = tf.identity(gradient)
            update_step(gradient, variable, rate)

        optimizer.update_step = update
        return optimizer

    monkeypatch.setattr(stages, "make_optimizer", make)


def delay_input(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Every window takes long to prepare."""
    plain = Lanes.read_window

    def read(lanes: Lanes, position: int) -> tuple[np.ndarray, np.ndarray]:
        clock.delay_thread()
        return plain(lanes, position)

    monkeypatch.setattr(Lanes, "read_window", read)


@pytest.mark.parametrize(
    ("stage", "plant"),
    [("forward", delay_forward), ("backward", delay_backward), ("update", delay_update)],
)
def test_a_planted_delay_shows_up_in_its_stage_and_nowhere_else(
    stage: str,
    plant: Callable[[pytest.MonkeyPatch, Clock], None],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, clock)
    cycle = measure_training(ONE_LAYER, V, LANES, steps=5, now=clock.now)
    found = {name: times.samples_s for name, times in cycle.stages.items()}
    assert found == {name: (DELAY_S if name == stage else 0.0,) * 5 for name in TRAINING_STAGES}
    assert cycle.wall.samples_s == (DELAY_S,) * 5
    assert cycle.hidden_input.samples_s == (0.0,) * 5


def test_input_that_a_step_does_not_wait_for_is_hidden(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay_input(monkeypatch, clock)
    cycle = measure_training(ONE_LAYER, V, LANES, steps=5, now=clock.now)
    assert cycle.hidden_input.samples_s == (DELAY_S,) * 5
    assert cycle.wall.samples_s == cycle.stages["input"].samples_s == (0.0,) * 5


def test_every_layer_has_its_own_times_and_a_slow_one_shows_them(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = lstm.run_lstm

    def run(x: tf.Tensor, *state: tf.Tensor, kernel: tf.Tensor, **options: Any) -> Any:
        outputs, h, c = plain(x, *state, kernel=kernel, **options)
        if kernel.shape[0] == SETTINGS.model.hidden_units:  # the second layer
            with tf.control_dependencies([outputs]):
                late = tf.numpy_function(clock.delay, [], tf.float32)
            with tf.control_dependencies([late]):
                outputs = tf.identity(outputs)
        return outputs, h, c

    monkeypatch.setattr(lstm, "run_lstm", run)
    layers = measure_training(SETTINGS, V, LANES, steps=5, now=clock.now).layers
    assert {name: passes["forward"].median_s for name, passes in layers.items()} == {
        "embedding": 0.0,
        "lstm_1": 0.0,
        "lstm_2": DELAY_S,
        "output": 0.0,
    }
    assert {passes["backward"].median_s for passes in layers.values()} == {0.0}


def test_a_step_is_measured_on_the_real_clock() -> None:
    model = SETTINGS.model.model_copy(update={"layer_norm": True, "residual": True})
    settings = SETTINGS.model_copy(update={"model": model})
    cycle = measure_training(settings, V, LANES, steps=5)
    counted = {cost.layer for cost in count_step_costs(settings, V)}
    assert cycle.layers.keys() == counted >= {"layer_norm_2", "layer_norm_output"}
    assert list(cycle.stages) == list(TRAINING_STAGES)
    assert cycle.tokens == 8 * 12
    assert all(times.median_s > 0 for times in cycle.stages.values())
    assert cycle.sum_s > 0
    assert cycle.wall.median_s > 0
    assert all(passes["forward"].median_s > 0 for passes in cycle.layers.values())


@pytest.mark.parametrize(("tick_s", "steps"), [(1e-4, 20), (1.0, 8)])
def test_slow_steps_are_fewer_where_their_number_is_left_open(tick_s: float, steps: int) -> None:
    """The clock moves by a tick each time it is asked: a step of each kind takes 8 or more."""
    ticks = itertools.count()
    cycle = measure_training(ONE_LAYER, V, LANES, now=lambda: tick_s * next(ticks))
    assert len(cycle.wall.samples_s) == steps
