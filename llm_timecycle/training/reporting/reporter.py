"""What a training tells while it runs: rows, samples and lines, the bar, and the time left."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from llm_timecycle.evaluation.stream import Sums
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.batches import Lanes
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.reporting.display import Display
from llm_timecycle.training.reporting.growing_file import GrowingFile
from llm_timecycle.training.reporting.metrics import (
    MetricsLog,
    add_stage_seconds,
    describe_row,
    list_stage_seconds,
    make_row,
    read_validations,
)
from llm_timecycle.training.reporting.samples import write_entry
from llm_timecycle.training.reporting.time_left import TimeLeft
from llm_timecycle.training.schedules import Plan

log = logging.getLogger("llm_timecycle")

SECONDS_BETWEEN_REPORTS = 10.0


class Reporter:
    """Keeps `metrics.csv` and `samples.txt`, and shows the course of a training.

    Both files are cut back to where the checkpoint was that the run resumes from.

    Args:
        run: locked by the caller.
        progress: of the run; the loop goes on to change it.
        lanes: the training text. valid_tokens: of the validation text.
        show_progress: whether there is a bar, and samples are shown.
        now: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        run: Run,
        progress: Progress,
        lanes: Lanes,
        valid_tokens: int,
        show_progress: bool,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._run, self._progress, self._lanes, self._now = run, progress, lanes, now
        losses = []
        if progress.metrics_bytes > 0:  # what the end will need is read before anything is changed
            kept = run.metrics_path, progress.metrics_bytes
            add_stage_seconds(*kept)
            losses = [point.valid_loss for point in read_validations(*kept)]
        if run.metrics_path.exists():  # what is about to be cut off is no longer promised
            run.record_logs(progress.metrics_bytes, progress.samples_bytes)
        self._metrics = MetricsLog(run.metrics_path, progress.metrics_bytes)
        self._samples = GrowingFile(run.samples_path, progress.samples_bytes)
        self._display = Display(show_progress, losses)
        self.is_shown = show_progress
        windows = valid_tokens / (lanes.lanes * lanes.window)
        self.time_left = TimeLeft(run.settings.training, lanes.steps_per_epoch, windows)
        self._reported_at_s = -math.inf

    def open(self, plan: Plan) -> AbstractContextManager[Display]:
        """Show the bar, until the end of the context."""
        return self._display.open(self._progress.tokens, self._count_planned_tokens(plan))

    def show_step(self, loss_nats: float, plan: Plan, used_s: float) -> None:
        """Move the bar to the step that the progress has reached.

        Args:
            loss_nats: its loss, per token. plan: the one in force.
            used_s: seconds of the budget that are used.
        """
        if not self.is_shown:
            return
        progress = self._progress
        epoch = (progress.step - 1) // self._lanes.steps_per_epoch + 1
        left_s = self.time_left.estimate_s(progress.step, plan, used_s)
        planned = self._count_planned_tokens(plan)
        self._display.show_step(progress.tokens, planned, epoch, loss_nats, left_s)

    def add_row(
        self, plan: Plan, sums: Sums | None, measured_s: Mapping[str, float], used_s: float
    ) -> None:
        """Write a row of metrics.csv for the steps since the last one.

        Args:
            plan: the one in force. sums: of the validation after the last step, if there was one.
            measured_s: of each stage, since the last row.
            used_s: seconds of the budget that are used.
        """
        progress = self._progress
        seconds = list_stage_seconds(measured_s, progress.wall_s - progress.logged_wall_s)
        row = make_row(progress, plan, self._lanes.steps_per_epoch, seconds, sums)
        self._metrics.append_row(row)
        is_due = self._now() - self._reported_at_s > SECONDS_BETWEEN_REPORTS
        if is_due and not self.is_shown and row["train_loss_nats"] is not None:
            self._reported_at_s = self._now()
            log.info(describe_row(row, self.time_left.estimate_s(progress.step, plan, used_s)))
        progress.begin_row()

    def add_validation(self, sums: Sums | None, is_best: bool, sample: str | None) -> None:
        """Show what came of a validation, and write its sample to samples.txt."""
        step, epoch = self._progress.step, self._progress.step / self._lanes.steps_per_epoch
        if sums is not None:
            self._display.show_validation(epoch, step, sums, is_best)
        if sample is not None:
            loss = "" if sums is None else f": valid loss {sums.loss_nats_per_token:.4f}"
            self._samples.append(write_entry(f"epoch {epoch:.3g}, step {step:,}{loss}", sample))
            self._display.show_sample(sample)

    def flush(self) -> None:
        """Flush both files to disk, and note their sizes in the progress and in the manifest."""
        self._progress.metrics_bytes = self._metrics.flush()
        self._progress.samples_bytes = self._samples.flush()
        self._run.record_logs()

    def close(self) -> None:
        """Close both files."""
        self._metrics.close()
        self._samples.close()

    def _count_planned_tokens(self, plan: Plan) -> int | None:
        """Tokens of the whole run; None while there is no plan yet."""
        return None if plan.is_open else self._lanes.count_predictions(plan.steps)
