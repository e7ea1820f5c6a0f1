"""Where the time of a training step goes, by stage and by layer.

    input     waiting for the next window; preparation that overlaps with the step before is apart
    forward   from the call of the compiled step until every token's loss is known; includes its
              launch, and the softmax, from which the gradient of the logits comes too
    backward  from there until the gradient of every weight is known
    update    from there until the step returns: norm, clipping, optimizer
    other     the rest of a step

Markers inside the compiled step tell its passes apart. A marker waits for all tensors of a pass,
asks the clock, and only then lets the next pass begin: the results of the forward pass are handed
on after that moment, and so is their gradient on the way back. What runs between two moments is one
pass and nothing else. The markers take time themselves. So steps with markers and steps without
alternate on the same weights: the stages are those of steps with markers, and add up to their time;
`closure` compares that sum with a step without markers, which includes what the markers cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property, partial
from typing import Any

import numpy as np
import tensorflow as tf

from llm_timecycle.config.settings import Settings
from llm_timecycle.model.activation_penalty import make_activation_penalty
from llm_timecycle.model.network import build_network, make_zero_states
from llm_timecycle.model.sharding import distribute, read_first
from llm_timecycle.profiling.measure.interleave import Clock, Run, interleave
from llm_timecycle.profiling.measure.layers import measure_layers
from llm_timecycle.profiling.results import TRAINING_STAGES, Durations, TrainingCycle
from llm_timecycle.text.batches import Lanes
from llm_timecycle.training.devices import read_plan
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.prefetch import WindowFeed
from llm_timecycle.training.state import TrainState
from llm_timecycle.training.step import PassMarkers, TrainStep, make_train_step
from llm_timecycle.training.workers.summed_step import divide_step
from llm_timecycle.training.workers.workers import Workers

WARM_UP_STEPS = 3
MOST_STEPS, FEWEST_STEPS, STEPS_TAKE_S = 20, 8, 40.0  # where their number is left open


def measure_training(
    settings: Settings,
    vocab_size: int,
    lanes: Lanes,
    steps: int | None = None,
    *,
    now: Clock = time.perf_counter,
) -> TrainingCycle:
    """Time training steps of `settings` by stage, as many without markers, and every layer.

    TensorFlow must be configured (`training.devices.configure_tensorflow`), and precision and
    threads resolved (`training.devices.resolve_machine`).

    Args:
        vocab_size: V. lanes: the text to train on; the steps start over where it ends.
        steps: of each kind; None takes as many as fit in 40 s, from 8 to 20.
    """
    shards = read_plan(settings).shards
    trial = TrialStep(settings, vocab_size, shards, has_documents=lanes.has_documents)
    markers = StepMarkers(now)
    with closing(WindowFeed(lanes, trial.strategy, now)) as feed:
        walk = _Walk(feed, lanes, make_zero_states(settings.model, lanes.lanes), now)
        runs: dict[str, Run] = {
            "with markers": partial(walk.step_with_markers, trial.compile(markers), markers),
            "without": partial(walk.step, trial.compile()),
        }
        warm_up_s = interleave(runs, WARM_UP_STEPS, now=now)["without"]
        if steps is None:
            wanted = round(STEPS_TAKE_S / (2 * warm_up_s[-1]))
            steps = min(max(wanted, FEWEST_STEPS), MOST_STEPS)
        wall_s = interleave(runs, steps, now=now)["without"]
    return TrainingCycle(
        stages={
            stage: Durations(tuple(walk.stages_s[stage][-steps:])) for stage in TRAINING_STAGES
        },
        layers=measure_layers(trial.network, lanes, shards, now=now),
        wall=Durations(wall_s),
        hidden_input=Durations(tuple(walk.hidden_s[-steps:])),
        batch_size=lanes.lanes,
        sequence_length=lanes.window,
    )


class TrialStep:
    """A network with new weights, its optimizer, and compiled training steps of both.

    Args:
        settings: with the precision resolved. vocab_size: V.
        shards: shards of the lanes that compute at the same time on each device.
        strategy: None takes the default one, a single device.
        has_documents: whether the steps reset the state where documents begin.

    Attributes:
        network, strategy: those of the steps.
    """

    def __init__(
        self,
        settings: Settings,
        vocab_size: int,
        shards: int,
        strategy: tf.distribute.Strategy | None = None,
        *,
        has_documents: bool = False,
    ) -> None:
        training = settings.training
        self._has_documents = has_documents
        self._settings, self._vocab_size, self._shards = settings, vocab_size, shards
        self.strategy = strategy or tf.distribute.get_strategy()
        with self.strategy.scope():
            self.network = build_network(
                settings.model, vocab_size, seed=training.seed, precision=training.precision
            )
            self._optimizer = make_optimizer(training)
            self._optimizer.build(self.network.trainable_variables)

    @cached_property
    def _step(self) -> TrainStep:
        return self.compile()

    def compile(self, markers: PassMarkers | None = None) -> TrainStep:
        """A training step of these weights; see `training.step.make_train_step`."""
        training = self._settings.training
        return make_train_step(
            self.network,
            self._optimizer,
            self.strategy,
            training.gradient_clip_norm,
            self._shards,
            markers,
            has_documents=self._has_documents,
            penalty=make_activation_penalty(training),
        )

    def compile_part(self, settings: Settings, workers: Workers) -> TrainStep:
        """The training step of one of several workers, as `training.session` makes it.

        Args:
            settings: of the whole step; their model is that of this one.
        """
        plan, training = read_plan(settings), settings.training
        division = divide_step(training, plan, workers, settings.model.num_layers)
        parts = (self.network, self._optimizer, self.strategy, plan.shards)
        state = TrainState(*parts, workers=workers, division=division)
        return state.compile_step(training, has_documents=self._has_documents)

    def prepare(self, batch_size: int, sequence_length: int, step: TrainStep | None = None) -> Run:
        """A function that does one whole step on random tokens and returns when it is done.

        Which tokens are read does not matter to its time; the state is carried, as in training.

        Args:
            step: None takes that of `compile`.
        """
        random = np.random.default_rng(self._settings.training.seed)
        shape = (2, batch_size, sequence_length)
        ids = random.integers(0, self._vocab_size, shape, np.int32)
        window = [distribute(self.strategy, array) for array in ids]
        return partial(self.prepare_for_windows(batch_size, step), *window)

    def prepare_for_windows(self, batch_size: int, step: TrainStep | None = None) -> Any:
        """As `prepare`, a function of tokens and targets (B, T)."""
        train_step = step or self._step
        zeros = make_zero_states(self._settings.model, batch_size)
        states = [distribute(self.strategy, state) for state in zeros]

        def run(tokens: Any, targets: Any) -> None:
            nonlocal states
            loss, norm, states = train_step(tokens, targets, states)
            read_first(self.strategy, loss), read_first(self.strategy, norm)

        return run


class Moments:
    """Two moments of each step, noted by operations of its graph.

    Args:
        now: seconds on a clock that never goes back. (TensorFlow refuses its own, `tf.timestamp`,
            where operations are to be deterministic.)
    """

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._noted = [0.0, 0.0]

    def note(self, index: int) -> tf.Tensor:
        """In a graph: an operation that notes moment 0 or 1 when it runs."""

        def note() -> float:
            self._noted[index] = self._now()
            return 0.0

        return tf.numpy_function(note, [], tf.float64)

    def read(self) -> tuple[float, float]:
        """Those of the latest step."""
        return self._noted[0], self._noted[1]


class StepMarkers:
    """The markers of one compiled step: `training.step.make_train_step` calls them while tracing.

    Args:
        now: the clock of `Moments`.
    """

    def __init__(self, now: Clock = time.perf_counter) -> None:
        self._moments = Moments(now)

    def end_forward(self, losses: tf.Tensor) -> tf.Tensor:
        """The losses, once all of them are computed; their gradient waits for that, too."""
        with tf.control_dependencies([losses]):
            moment = self._moments.note(0)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def hold(values: tf.Tensor) -> Any:
            def hold_gradient(gradient: tf.Tensor) -> tf.Tensor:
                with tf.control_dependencies([moment]):
                    return tf.identity(gradient)

            with tf.control_dependencies([moment]):
                return tf.identity(values), hold_gradient

        return hold(losses)

    def end_backward(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients, once all of them are computed."""
        return hold(gradients, partial(self._moments.note, 1))

    def read(self) -> tuple[float, float]:
        """When the forward and the backward pass of the latest step ended."""
        return self._moments.read()


def hold(tensors: Sequence[tf.Tensor], note: Callable[[], tf.Tensor]) -> list[tf.Tensor]:
    """In a graph: the tensors, once all of them are computed and what `note` makes has run."""
    with tf.control_dependencies(tensors):
        moment = note()
    with tf.control_dependencies([moment]):
        return [tf.identity(tensor) for tensor in tensors]


class _Walk:
    """Steps through the text as the training loop does them, and the times of their stages."""

    def __init__(self, feed: WindowFeed, lanes: Lanes, states: list[tf.Tensor], now: Clock) -> None:
        self._feed, self._states, self._now = feed, states, now
        # A shorter last window would be another compiled step: start over before it.
        self._windows = max(lanes.lane_length // lanes.window, 1)
        self._position = 0
        self.stages_s: dict[str, list[float]] = {stage: [] for stage in TRAINING_STAGES}
        self.hidden_s: list[float] = []

    def step(self, train_step: TrainStep) -> tuple[float, float]:
        """One step; the moments at which it asked for its window, and got it."""
        asked = self._now()
        tokens, targets, *keep = self._feed.take(self._position)
        called = self._now()
        loss, norm, self._states = train_step(tokens, targets, self._states, *keep)
        float(loss), float(norm)
        self._position = (self._position + 1) % self._windows
        return asked, called

    def step_with_markers(self, train_step: TrainStep, markers: StepMarkers) -> None:
        """One step; the time of each stage is added to the lists."""
        began, prepared_s = self._now(), self._feed.preparing_s
        asked, called = self.step(train_step)
        returned = self._now()
        forward, backward = markers.read()
        waited_s = called - asked
        self.hidden_s.append(max(self._feed.preparing_s - prepared_s - waited_s, 0.0))
        times_s = {
            "input": waited_s,
            "forward": forward - called,
            "backward": backward - forward,
            "update": returned - backward,
            "other": (asked - began) + (self._now() - returned),
        }
        for stage, seconds in times_s.items():
            self.stages_s[stage].append(seconds)
