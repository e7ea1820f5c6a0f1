"""The training loop: step, validate, log, keep the best weights, write checkpoints.

Everything that decides the course of training (learning rate, patience, best loss so far) is in
`Progress`. Together with weights, optimizer, LSTM state and random state it makes a checkpoint: a
loop that resumes from one does exactly what the uninterrupted loop would have done.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import closing
from shlex import quote

import keras
import numpy as np

from llm_timecycle.clock import StageClock
from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import DivergenceError, Interrupted
from llm_timecycle.evaluation.stream import Sums, compute_perplexity, make_scorer, score_stream
from llm_timecycle.model.network import make_zero_states, read_parameters
from llm_timecycle.model.sharding import distribute, read_first
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.batches import Lanes
from llm_timecycle.training.checkpoints import (
    Checkpoint,
    read_newest_checkpoint,
    write_checkpoint,
)
from llm_timecycle.training.metrics import MetricsLog, list_stage_seconds
from llm_timecycle.training.prefetch import WindowFeed
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.schedules import compute_rate
from llm_timecycle.training.signals import StopRequest
from llm_timecycle.training.state import TrainState
from llm_timecycle.training.step import make_train_step

log = logging.getLogger("llm_timecycle")

SECONDS_BETWEEN_CHECKPOINTS = 600.0
SECONDS_BETWEEN_REPORTS = 10.0


class _Stopped(Exception):  # noqa: N818 - not an error: how a validation is left
    """A signal arrived while validating."""


class TrainingLoop:
    """The training of a run, from its newest checkpoint (or its beginning) to its end.

    Args:
        run: the run directory, locked by the caller.
        lanes: the training text. valid_ids: the validation stream (N,), or None.
        callbacks: Keras callbacks; they see the loop's steps and epochs, and may set
            `model.stop_training`.
        stop_request: filled by a signal handler.
    """

    def __init__(
        self,
        run: Run,
        train_state: TrainState,
        lanes: Lanes,
        valid_ids: np.ndarray | None,
        *,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        stop_request: StopRequest,
        show_progress: bool,
    ) -> None:
        self._run, self._settings = run, run.settings
        self._train_state = train_state
        self._network, self._strategy = train_state.network, train_state.strategy
        self._lanes, self._valid_ids = lanes, valid_ids
        self._feed = WindowFeed(lanes, train_state.strategy)
        self._stop_request, self._show_progress = stop_request, show_progress
        self._steps = count_steps(run.settings, lanes)
        self._train_step = make_train_step(
            train_state.network,
            train_state.optimizer,
            train_state.strategy,
            run.settings.training.gradient_clip_norm,
            train_state.shards,
        )
        self._scorer = make_scorer(self._network, train_state.shards, ahead=valid_ids is not None)
        self._callbacks = keras.callbacks.CallbackList(list(callbacks), model=self._network)
        self._clock = StageClock()
        self._progress = Progress()
        self._states = [
            distribute(self._strategy, state)
            for state in make_zero_states(run.settings.model, lanes.lanes)
        ]
        self._restore()
        self._metrics = MetricsLog(run.metrics_path, self._progress.metrics_bytes)
        self._saved_step, self._saved_at_s = self._progress.step, time.perf_counter()
        self._began_at_s = time.perf_counter() - self._progress.wall_s
        self._reported_at_s = -math.inf

    @property
    def progress(self) -> Progress:
        """How far the run has come."""
        return self._progress

    def train(self) -> None:
        """Train to the end; on a signal, write a checkpoint and raise Interrupted."""
        self._callbacks.set_params(
            {"steps": self._lanes.steps_per_epoch, "first_step": self._progress.step}
        )
        self._callbacks.on_train_begin()
        bar = tqdm(
            total=self._count_tokens(self._steps),
            initial=self._progress.tokens,
            unit="tok",
            unit_scale=True,
            disable=not self._show_progress,
            dynamic_ncols=True,
        )
        with closing(self._feed), bar:
            while True:
                if self._stop_request.signal_number is not None:
                    self._stop()
                if not self._close_step():
                    break
                loss_nats = self._do_step()
                epoch = (self._progress.step - 1) // self._lanes.steps_per_epoch + 1
                bar.set_description(f"epoch {epoch}", refresh=False)
                perplexity = compute_perplexity(loss_nats)
                bar.set_postfix_str(f"loss {loss_nats:.3f}, ppl {perplexity:.4g}", refresh=False)
                bar.update(self._progress.tokens - bar.n)
        self._finish()

    def _close_step(self) -> bool:
        """Do what is due after a step; returns whether another step follows."""
        progress, training = self._progress, self._settings.training
        step = progress.step
        is_epoch_end = step > 0 and step % self._lanes.steps_per_epoch == 0
        is_last = step >= self._steps
        eval_every, save_every = training.eval_every, training.checkpoint_every
        is_eval_due = is_epoch_end or is_last or bool(eval_every and step % eval_every == 0)
        if 0 < step != progress.validated_step and is_eval_due:
            try:
                self._validate()
            except _Stopped:
                self._stop()
        elif step > progress.logged_step and step % training.log_every == 0:
            self._log_row(None)
        is_over = is_last or progress.is_out_of_patience(training) or self._is_stopped_by_callback()
        is_save_due = is_epoch_end or is_over or bool(save_every and step % save_every == 0)
        is_late = time.perf_counter() - self._saved_at_s > SECONDS_BETWEEN_CHECKPOINTS
        if step > self._saved_step and (is_save_due or is_late):
            self._save()
        if is_over and not is_last:
            log.info("stopped early after step %d", step)
        return not is_over

    def _do_step(self) -> float:
        """One step: read, compute, update the progress; returns the loss in nats per token."""
        progress, training = self._progress, self._settings.training
        epoch, position = divmod(progress.step, self._lanes.steps_per_epoch)
        if position == 0:
            self._callbacks.on_epoch_begin(epoch)
            zeros = make_zero_states(self._settings.model, self._lanes.lanes)
            self._states = [distribute(self._strategy, state) for state in zeros]
        self._callbacks.on_train_batch_begin(position)
        with self._clock.measure("input"):
            tokens, targets = self._feed.take(position)
        with self._clock.measure("compute"):
            rate = compute_rate(training, progress.step, self._steps, progress.plateau_scale)
            if rate != progress.learning_rate:
                self._train_state.optimizer.learning_rate = progress.learning_rate = rate
            loss, norm, self._states = self._train_step(tokens, targets, self._states)
            loss_nats = read_first(self._strategy, loss)
            progress.gradient_norm = read_first(self._strategy, norm)
        if not (math.isfinite(loss_nats) and math.isfinite(progress.gradient_norm)):
            self._report_divergence(loss_nats)
        progress.step += 1
        tokens_before, progress.tokens = progress.tokens, self._count_tokens(progress.step)
        progress.loss_sum += loss_nats * (progress.tokens - tokens_before)
        progress.loss_tokens += progress.tokens - tokens_before
        self._callbacks.on_train_batch_end(position, {"loss": loss_nats})
        return loss_nats

    def _validate(self) -> None:
        """Score the validation text; save the weights if they are the best so far."""
        progress, training = self._progress, self._settings.training
        sums = None
        is_best = True  # without a validation text, the newest weights are the best
        if self._valid_ids is not None:
            with self._clock.measure("validation"):
                sums = score_stream(
                    self._scorer,
                    self._settings.model,
                    self._valid_ids,
                    lanes=training.batch_size,
                    window=max(training.sequence_length, 16),
                    show_progress=self._show_progress,
                    after_window=self._raise_if_asked_to_stop,
                )
            is_best = progress.note_validation(sums.loss_nats_per_token, training)
        progress.validated_step = progress.step
        if is_best:
            with self._clock.measure("checkpoint"):
                self._save_best(None if sums is None else sums.loss_nats_per_token)
        train_loss = progress.loss_sum / max(progress.loss_tokens, 1)
        self._log_row(sums)
        epoch = progress.step / self._lanes.steps_per_epoch
        logs = {"loss": train_loss}
        if sums is not None:
            logs["val_loss"] = sums.loss_nats_per_token
            log.info(
                "epoch %.3g, step %s: valid loss %.4f, perplexity %.6g%s",
                epoch,
                f"{progress.step:,}",
                sums.loss_nats_per_token,
                sums.perplexity,
                " (best so far)" if is_best else "",
            )
        if progress.step % self._lanes.steps_per_epoch == 0:
            self._callbacks.on_epoch_end(int(epoch) - 1, logs)

    def _save_best(self, valid_loss: float | None) -> None:
        facts = {"step": self._progress.step, "valid_loss_nats": valid_loss}
        self._run.save_weights(read_parameters(self._network), facts)

    def _log_row(self, sums: Sums | None) -> None:
        """Write a row of metrics.csv for the steps since the last row."""
        progress = self._progress
        progress.wall_s = time.perf_counter() - self._began_at_s
        seconds = list_stage_seconds(self._clock.take(), progress.wall_s - progress.logged_wall_s)
        training_s = seconds["input"] + seconds["compute"] + seconds["other"]
        loss = progress.loss_sum / progress.loss_tokens if progress.loss_tokens else None
        rate_tokens_per_s = progress.loss_tokens / training_s if training_s > 0 else None
        row: dict[str, float | int | None] = {
            "step": progress.step,
            "epoch": progress.step / self._lanes.steps_per_epoch,
            "tokens": progress.tokens,
            "wall_s": progress.wall_s,
            "train_loss_nats": loss,
            "train_perplexity": None if loss is None else compute_perplexity(loss),
            "learning_rate": progress.learning_rate,
            "gradient_norm": progress.gradient_norm,
            "tokens_per_s": rate_tokens_per_s,
        }
        if sums is not None:
            row["valid_loss_nats"] = sums.loss_nats_per_token
            row["valid_perplexity"] = sums.perplexity
            row["valid_accuracy"] = sums.accuracy
        self._metrics.append(row | {f"{stage}_s": spent for stage, spent in seconds.items()})
        is_due = time.perf_counter() - self._reported_at_s > SECONDS_BETWEEN_REPORTS
        if is_due and not self._show_progress and loss is not None and rate_tokens_per_s:
            self._reported_at_s = time.perf_counter()
            steps = f"{progress.step:,} of {self._steps:,}"
            log.info("step %s: train loss %.4f, %.0f tokens/s", steps, loss, rate_tokens_per_s)
        progress.logged_step, progress.logged_wall_s = progress.step, progress.wall_s
        progress.loss_sum, progress.loss_tokens = 0.0, 0

    def _report_divergence(self, loss: float) -> None:
        progress = self._progress
        self._metrics.close()
        raise DivergenceError(
            f"training diverged at step {progress.step + 1}: loss {loss:g}, gradient norm "
            f"{progress.gradient_norm:g}, learning rate {progress.learning_rate:g}. Everything "
            f"saved before is still in {self._run.path}. Lower training.learning_rate or set "
            f"training.gradient_clip_norm, and train in another directory"
        )

    def _count_tokens(self, steps: int) -> int:
        """Tokens that the first `steps` steps train on."""
        epochs, position = divmod(steps, self._lanes.steps_per_epoch)
        length = self._lanes.lane_length
        return self._lanes.lanes * (epochs * length + min(position * self._lanes.window, length))

    def _is_stopped_by_callback(self) -> bool:
        return bool(getattr(self._network, "stop_training", False))

    def _raise_if_asked_to_stop(self) -> None:
        if self._stop_request.signal_number is not None:
            raise _Stopped

    def _stop(self) -> None:
        """Save everything and raise Interrupted."""
        number = self._stop_request.signal_number
        assert number is not None
        if self._progress.step > self._saved_step:
            self._save()
        if self._progress.step > 0 and not self._run.weights_path.exists():
            self._save_best(None)  # for an early look; validation will replace them
        self._metrics.close()
        raise Interrupted(
            f"Stopped after step {self._progress.step}; everything is saved. "
            f"Resume with: llm-timecycle train {quote(str(self._run.path))} --resume",
            number,
        )

    def _finish(self) -> None:
        self._metrics.flush()
        self._metrics.close()
        self._run.record_metrics()
        self._progress.wall_s = time.perf_counter() - self._began_at_s
        self._callbacks.on_train_end()

    def _save(self) -> None:
        """Write a checkpoint."""
        with self._clock.measure("checkpoint"):
            self._progress.wall_s = time.perf_counter() - self._began_at_s
            self._progress.metrics_bytes = self._metrics.flush()
            self._run.record_metrics()
            write_checkpoint(
                self._run.checkpoints_path,
                Checkpoint(self._progress, self._train_state.collect(self._states)),
                self._settings.training.keep_checkpoints,
            )
        self._saved_step, self._saved_at_s = self._progress.step, time.perf_counter()

    def _restore(self) -> None:
        """Restore the newest checkpoint, if there is one."""
        shapes = self._train_state.compute_shapes(self._states, self._lanes.lanes)
        checkpoint = read_newest_checkpoint(self._run.checkpoints_path, shapes)
        if checkpoint is None:
            return
        self._progress = checkpoint.progress
        self._states = self._train_state.restore(checkpoint.tensors, len(self._states))
        step = self._progress.step
        if step < self._steps:
            log.info("resuming after step %s of %s", f"{step:,}", f"{self._steps:,}")
        else:
            training = self._settings.training
            is_cut_short = self._steps == training.max_steps
            log.info(
                "this run is complete (%s steps); to train it further: llm-timecycle train %s "
                "--resume --set training.%s=%d",
                f"{step:,}",
                quote(str(self._run.path)),
                "max_steps" if is_cut_short else "epochs",
                2 * (self._steps if is_cut_short else training.epochs),
            )


def count_steps(settings: Settings, lanes: Lanes) -> int:
    """Steps of a whole run."""
    steps = settings.training.epochs * lanes.steps_per_epoch
    return min(steps, settings.training.max_steps or steps)
