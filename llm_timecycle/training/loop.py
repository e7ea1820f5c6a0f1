"""The training loop: step, validate, log, keep the best weights, write checkpoints.

Everything that decides the course of training (learning rate, patience, best loss so far) is in
`Progress`. Together with weights, optimizer, LSTM state and random state it makes a checkpoint: a
loop that resumes from one does exactly what the uninterrupted loop would have done. The plans of a
run with a budget are also in the manifest, each before the first step that follows it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

import keras
import numpy as np

from llm_timecycle.clock import ActiveClock, StageClock
from llm_timecycle.errors import DivergenceError, Interrupted
from llm_timecycle.evaluation.stream import Sums
from llm_timecycle.model.network import read_parameters
from llm_timecycle.model.sharding import read_first
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.batches import ONE_DOCUMENT, Lanes
from llm_timecycle.training.budget.planner import open_planner, renew_plan
from llm_timecycle.training.budget.planning import SECONDS_BETWEEN_CHECKPOINTS
from llm_timecycle.training.checkpoints import (
    Checkpoint,
    read_newest_checkpoint,
    write_checkpoint,
)
from llm_timecycle.training.prefetch import WindowFeed
from llm_timecycle.training.progress import (
    Progress,
    describe_resuming,
    explain_divergence,
    explain_early_stop,
    explain_stop,
)
from llm_timecycle.training.reporting.samples import Sampler
from llm_timecycle.training.schedules import compute_rate, write_plans
from llm_timecycle.training.signals import Stopped, StopRequest
from llm_timecycle.training.state import TrainState
from llm_timecycle.training.validation import Validator
from llm_timecycle.training.workers.followers import open_reporter
from llm_timecycle.training.workers.sharing import share_checkpoint
from llm_timecycle.training.workers.workers import Moment

log = logging.getLogger("llm_timecycle")


class TrainingLoop:
    """The training of a run, from its newest checkpoint (or its beginning) to its end.

    Args:
        run: the run directory, locked by the caller.
        lanes: the training text.
        valid_ids: the validation stream (N,), or None. valid_starts: where its documents begin.
        sampler: writes a sample after each validation; None writes none.
        callbacks: Keras callbacks; they see the loop's steps and epochs, and may set
            `model.stop_training`.
        stop_request: filled by a signal handler.
        began_at_s: when this session began, on the clock `now`: what a budget counts from; None is
            now.
        now: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        run: Run,
        train_state: TrainState,
        lanes: Lanes,
        valid_ids: np.ndarray | None,
        *,
        valid_starts: np.ndarray = ONE_DOCUMENT,
        sampler: Sampler | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        stop_request: StopRequest,
        show_progress: bool,
        began_at_s: float | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._run, self._settings, self._now = run, run.settings, now
        self._identity = run.read_identity()
        self._train_state = train_state
        self._network, self._strategy = train_state.network, train_state.strategy
        self._workers = workers = train_state.workers
        lanes = self._lanes = replace(lanes, own=workers.own_lanes(lanes.lanes))
        self._feed = WindowFeed(lanes, train_state.strategy)
        self._asked = stop_request
        # What several workers obey is what they have agreed on.
        self._stop_request = stop_request = stop_request if workers.size == 1 else StopRequest()
        self._train_step = train_state.compile_step(
            run.settings.training, has_documents=lanes.has_documents
        )
        self._callbacks = keras.callbacks.CallbackList(list(callbacks), model=self._network)
        self._clock = StageClock(now)
        self._active = ActiveClock(now() if began_at_s is None else began_at_s, now)
        parts = (train_state, run.settings, valid_ids, self._active, stop_request, valid_starts)
        self._validator = Validator(*parts, sampler)
        self._progress = Progress()
        self._states = train_state.make_zero_states(run.settings.model, lanes.lanes)
        self._restore()
        self._first_step, self._active_before_s = self._progress.step, self._progress.active_s
        self._planner = open_planner(run, self._progress, lanes.steps_per_epoch, self._active)
        self._plan = self._planner.find_plan(self._progress.step)
        if self._first_step > 0 and workers.is_chief:
            training = run.settings.training
            log.info(describe_resuming(self._progress, self._plan, training, run.path))
        valid_tokens = 0 if valid_ids is None else len(valid_ids)
        self._reporter = open_reporter(
            workers, run, self._progress, lanes, valid_tokens, show_progress, now
        )
        self._compiled_widths: set[int] = set()
        self._saved, self._saved_at_s = self._progress.reached, now()
        self._began_at_s = now() - self._progress.wall_s

    @property
    def progress(self) -> Progress:
        """How far the run has come."""
        return self._progress

    def train(self) -> None:
        """Train to the end; on a signal, write a checkpoint and raise Interrupted."""
        if self._planner.has_changed:
            self._run.record_plans(write_plans(self._planner.plans))
        self._callbacks.set_params(
            {"steps": self._lanes.steps_per_epoch, "first_step": self._progress.step}
        )
        self._callbacks.on_train_begin()
        self._active.tick("start")
        with closing(self._feed), self._reporter.open(self._plan):
            while True:
                try:
                    moment = self._agree()
                    self._stop_request.check()
                    if not self._close_step(moment):
                        break
                except Stopped:
                    self._stop()
                loss_nats = self._do_step()
                self._reporter.show_step(loss_nats, self._plan, self._planner.used_s)
        self._finish()

    def _agree(self) -> Moment:
        """What is due now by clocks, signals and callbacks, for all workers."""
        moment = self._workers.agree(
            Moment(
                self._asked.signal_number,
                self._is_stopped_by_callback(),
                self._planner.is_plan_due(self._progress.step),
                self._now() - self._saved_at_s > SECONDS_BETWEEN_CHECKPOINTS,
            )
        )
        if moment.signal_number is not None:
            self._stop_request.signal_number = moment.signal_number
        return moment

    def _is_stopped_by_callback(self) -> bool:
        return bool(getattr(self._network, "stop_training", False))

    def _estimate_validation_s(self) -> float:
        with self._clock.measure("validation"), self._workers.allow("a validation"):
            return self._validator.estimate_s()

    def _close_step(self, moment: Moment) -> bool:
        """Do what is due after a step; returns whether another step follows."""
        progress, training = self._progress, self._settings.training
        step = progress.step
        if moment.is_plan_due:
            costs = self._estimate_validation_s, self._save
            renew_plan(self._planner, self._workers, self._run, progress, self._lanes, *costs)
            self._active.tick("plan")
        self._plan = self._planner.find_plan(step)
        is_epoch_end = step > 0 and step % self._lanes.steps_per_epoch == 0
        is_last = step >= self._plan.steps
        is_epoch_due = is_epoch_end and training.minutes is None
        eval_every, save_every = training.eval_every, training.checkpoint_every
        is_eval_due = is_epoch_due or is_last or bool(eval_every and step % eval_every == 0)
        if self._plan.eval_every > 0:
            is_eval_due |= step - progress.validated_step >= self._plan.eval_every
        if 0 < step != progress.validated_step and is_eval_due:
            self._validate()
        else:
            if is_epoch_end and self._first_step < step != progress.validated_step:
                self._end_epoch({"loss": progress.loss_sum / max(progress.loss_tokens, 1)})
            if step > progress.logged_step and step % training.log_every == 0:
                self._log_row(None)
        is_stopped = moment.is_stopped
        if is_epoch_end:  # callbacks were called
            is_stopped = any(self._workers.add_numbers([self._is_stopped_by_callback()]))
        epochs = 0.0 if self._plan.is_open else self._plan.steps / self._lanes.steps_per_epoch
        is_learned = not is_last and progress.is_out_of_patience(training, epochs)
        is_over = is_last or is_stopped or is_learned
        is_save_due = is_epoch_due or is_over or bool(save_every and step % save_every == 0)
        if progress.reached > self._saved and (is_save_due or moment.is_save_due):
            self._save()
        if is_learned and self._workers.is_chief:
            self._note_time()
            log.info(explain_early_stop(progress, training, self._run.path))
        elif is_over and not is_last:
            log.info("stopped early after step %d", step)
        return not is_over

    def _do_step(self) -> float:
        """One step: read, compute, update the progress; returns the loss in nats per token."""
        progress, training, lanes = self._progress, self._settings.training, self._lanes
        epoch, position = divmod(progress.step, lanes.steps_per_epoch)
        if position == 0:
            self._callbacks.on_epoch_begin(epoch)
            self._states = self._train_state.make_zero_states(self._settings.model, lanes.lanes)
        self._callbacks.on_train_batch_begin(position)
        with self._clock.measure("input"):
            inputs, targets, *keep = self._feed.take(progress.step)
        with self._clock.measure("compute"):
            rate = compute_rate(training, progress.step, self._plan, progress.plateau_scale)
            rate *= lanes.scale_rate(progress.step)
            if rate != progress.learning_rate:
                self._train_state.optimizer.learning_rate = progress.learning_rate = rate
            loss, norm, self._states = self._train_step(inputs, targets, self._states, *keep)
            if progress.averaged_steps > 0:
                self._add_to_average()
            loss_nats = read_first(self._strategy, loss)
            progress.gradient_norm = read_first(self._strategy, norm)
        if not (math.isfinite(loss_nats) and math.isfinite(progress.gradient_norm)):
            self._reporter.close()
            raise DivergenceError(explain_divergence(progress, loss_nats, self._run.path))
        _, width = lanes.find_window(progress.step)
        progress.step += 1
        tokens = lanes.count_predictions(progress.step) - progress.tokens
        progress.tokens += tokens
        progress.loss_sum += loss_nats * tokens
        progress.loss_tokens += tokens
        self._callbacks.on_train_batch_end(position, {"loss": loss_nats})
        span_s, is_compiled = self._active.tick("step"), width in self._compiled_widths
        self._compiled_widths.add(width)
        self._workers.note_step(progress.step, is_compiled=is_compiled)
        self._planner.note_step(span_s, is_compiled=is_compiled)
        self._reporter.time_left.note_step(span_s, is_compiled=is_compiled)
        return loss_nats

    def _add_to_average(self) -> None:
        """Add the weights of the moment to their mean."""
        assert self._train_state.average is not None
        self._progress.averaged_steps += 1
        self._train_state.average.add(self._progress.averaged_steps)

    def _validate(self) -> None:
        """Score the validation text, write a sample, save the weights if they are the best so far.

        Where weights are averaged, it is their mean that is scored, sampled from and saved.
        """
        progress, training = self._progress, self._settings.training
        began_s = self._active.read_s()
        is_best = True  # without a validation text, the newest weights are the best
        sample = None
        with self._train_state.apply_average(progress.averaged_steps):
            with self._clock.measure("validation"), self._workers.allow("a validation"):
                sums = self._validator.score(show_progress=self._reporter.is_shown)
                if progress.is_sample_due(is_last=progress.step >= self._plan.steps):
                    sample, progress.sampled_tokens = self._validator.sample(), progress.tokens
            self._planner.note_validation(self._active.read_s() - began_s)
            if sums is not None:
                is_best = progress.note_validation(sums.loss_nats_per_token, training)
            progress.validated_step = progress.step
            if is_best:
                with self._clock.measure("checkpoint"), self._workers.together("the best weights"):
                    self._save_best(None if sums is None else sums.loss_nats_per_token)
        self._reporter.time_left.note_validation(self._active.read_s() - began_s)
        logs = {"loss": progress.loss_sum / max(progress.loss_tokens, 1)}
        self._log_row(sums)
        self._reporter.add_validation(sums, is_best, sample)
        if sums is not None:
            logs["val_loss"] = sums.loss_nats_per_token
            if progress.triggers_averaging(sums.loss_nats_per_token, training):
                log.info("the weights are averaged from step %s on", f"{progress.step:,}")
                self._add_to_average()
        if progress.step % self._lanes.steps_per_epoch == 0:
            self._end_epoch(logs)

    def _end_epoch(self, logs: dict[str, float]) -> None:
        epoch = self._progress.step // self._lanes.steps_per_epoch
        self._callbacks.on_epoch_end(epoch - 1, logs)

    def _save_best(self, valid_loss: float | None) -> None:
        facts = {"step": self._progress.step, "valid_loss_nats": valid_loss}
        self._run.save_weights(read_parameters(self._network), facts)
        self._active.tick("best")

    def _log_row(self, sums: Sums | None) -> None:
        """Write a row of metrics.csv for the steps since the last row."""
        self._progress.wall_s = self._now() - self._began_at_s
        self._reporter.add_row(self._plan, sums, self._clock.take(), self._planner.used_s)

    def _stop(self) -> None:
        """Save everything and raise Interrupted."""
        number = self._stop_request.signal_number
        assert number is not None
        if self._progress.reached > self._saved:
            self._save()
        if self._progress.step > 0 and not self._run.weights_path.exists():
            self._save_best(None)  # for an early look; validation will replace them
        self._reporter.close()
        raise Interrupted(explain_stop(self._progress, self._run.path), number)

    def _finish(self) -> None:
        self._reporter.flush()
        self._reporter.close()
        self._note_time()
        self._callbacks.on_train_end()

    def _save(self) -> None:
        """Write a checkpoint."""
        with self._clock.measure("checkpoint"):
            self._note_time()
            tensors = self._train_state.collect(self._states)
            with self._workers.together("a checkpoint"):
                self._reporter.flush()
                if self._workers.is_chief:
                    write_checkpoint(
                        self._run.checkpoints_path,
                        Checkpoint(self._progress, tensors, self._identity),
                        self._settings.training.keep_checkpoints,
                    )
        self._saved, self._saved_at_s = self._progress.reached, self._now()
        self._reporter.time_left.note_checkpoint(self._active.tick("checkpoint"))

    def _note_time(self) -> None:
        """Write the time so far, and the plans made in it, into the progress."""
        progress = self._progress
        progress.wall_s = self._now() - self._began_at_s
        progress.active_s = self._active_before_s + self._active.read_s()
        progress.plans = tuple(p for p in self._planner.plans if p.step <= progress.step)

    def _restore(self) -> None:
        """Restore the newest checkpoint, if there is one; every worker begins with the chief's."""
        shapes = self._train_state.compute_shapes(self._states, self._lanes.lanes)
        path, identity = self._run.checkpoints_path, self._identity
        read = partial(read_newest_checkpoint, path, shapes, identity)
        checkpoint = share_checkpoint(self._workers, read, self._train_state, shapes)
        if checkpoint is None:
            return
        self._progress = checkpoint.progress
        self._states = self._train_state.restore(checkpoint.tensors, len(self._states))
