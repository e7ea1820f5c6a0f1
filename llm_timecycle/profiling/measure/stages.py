"""The stage clock: where the time of a training step goes, by stage and by layer.

    input     waiting for the next window; what of its preparation was hidden is told apart
    forward   from the call of the compiled step until every token's loss is known, its launch and
              the softmax, from which the gradient of the logits comes too, included
    backward  from there until the gradient of every weight is known
    update    from there until the step returns: norm, clipping, optimizer
    other     the rest of the loop between two steps

Steps with markers (`measure.pass_markers`) and steps without alternate on the same weights. The
stages are those of steps with markers, and add up to their time; `closure` compares that sum with a
step without markers, so it includes what the markers cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import tensorflow as tf

from llm_timecycle.config.settings import Settings
from llm_timecycle.model.network import build_network, make_zero_states
from llm_timecycle.profiling.measure.layers import measure_layers
from llm_timecycle.profiling.measure.pass_markers import StepMarks
from llm_timecycle.profiling.results import TRAINING_STAGES, Durations, TrainingCycle
from llm_timecycle.text.batches import Lanes
from llm_timecycle.training.devices import read_plan
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.prefetch import WindowFeed
from llm_timecycle.training.step import TrainStep, make_train_step

WARM_UP_STEPS = 3
STEPS_AT_MOST, STEPS_AT_LEAST, STEPS_TAKE_S = 20, 8, 40.0  # where their number is left open


def measure_training(
    settings: Settings,
    vocab_size: int,
    lanes: Lanes,
    steps: int | None = None,
    *,
    now: Callable[[], float] = time.perf_counter,
) -> TrainingCycle:
    """Time so many training steps of `settings` by stage, as many without marks, and every layer.

    TensorFlow must be configured (`training.devices.configure_tensorflow`), and precision and
    threads resolved (`training.devices.resolve_machine`).

    Args:
        vocab_size: V. lanes: the text to train on; a few steps go round in it.
        steps: of each kind; None takes as many as 40 s hold, from 8 to 20.
        now: seconds on a clock that never goes back.
    """
    training = settings.training
    parts = read_plan(settings).shards
    network = build_network(
        settings.model, vocab_size, seed=training.seed, precision=training.precision
    )
    optimizer = make_optimizer(training)
    optimizer.build(network.trainable_variables)
    marks = StepMarks(now)
    strategy = tf.distribute.get_strategy()
    train_state = network, optimizer, strategy, training.gradient_clip_norm, parts
    with closing(WindowFeed(lanes, strategy, now)) as feed:
        walk = _Walk(feed, lanes, make_zero_states(settings.model, lanes.lanes), now)
        marked, plain = make_train_step(*train_state, marks), make_train_step(*train_state)
        for _ in range(WARM_UP_STEPS):
            walk.step(marked, marks)
            walk.step(plain, None)
        if steps is None:
            both_s = 2 * walk.wall_s[-1]
            steps = min(max(round(STEPS_TAKE_S / both_s), STEPS_AT_LEAST), STEPS_AT_MOST)
        walk.begin_again()
        for _ in range(steps):
            walk.step(marked, marks)
            walk.step(plain, None)
    return TrainingCycle(
        stages={stage: Durations(tuple(walk.stages_s[stage])) for stage in TRAINING_STAGES},
        layers=measure_layers(network, lanes, parts, now=now),
        wall=Durations(tuple(walk.wall_s)),
        hidden_input=Durations(tuple(walk.hidden_s)),
        batch_size=lanes.lanes,
        sequence_length=lanes.window,
    )


class _Walk:
    """Steps through the text, each with its times."""

    def __init__(
        self, feed: WindowFeed, lanes: Lanes, states: list[tf.Tensor], now: Callable[[], float]
    ) -> None:
        self._feed, self._now = feed, now
        # A last window that is shorter would be another step; the walk turns before it.
        self._windows = max(lanes.lane_length // lanes.window, 1)
        self._states = states
        self._position = 0
        self.begin_again()

    def begin_again(self) -> None:
        """Forget the times."""
        self.stages_s: dict[str, list[float]] = {stage: [] for stage in TRAINING_STAGES}
        self.wall_s: list[float] = []
        self.hidden_s: list[float] = []
        self._ended = self._now()

    def step(self, train_step: TrainStep, marks: StepMarks | None) -> None:
        """One step as the training loop does it, from the end of the one before."""
        began = self._ended
        prepared_s = self._feed.preparing_s
        asked = self._now()
        tokens, targets = self._feed.take(self._position)
        called = self._now()
        loss, norm, self._states = train_step(tokens, targets, self._states)
        float(loss), float(norm)
        returned = self._now()
        self._position = (self._position + 1) % self._windows
        if marks is None:
            self._ended = self._now()
            self.wall_s.append(self._ended - began)
            return
        forward, backward = marks.read()
        waited_s = called - asked
        self.hidden_s.append(max(self._feed.preparing_s - prepared_s - waited_s, 0.0))
        self._ended = self._now()
        times_s = {
            "input": waited_s,
            "forward": forward - called,
            "backward": backward - forward,
            "update": returned - backward,
            "other": (asked - began) + (self._ended - returned),
        }
        for stage, seconds in times_s.items():
            self.stages_s[stage].append(seconds)
