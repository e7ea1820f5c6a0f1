"""What a worker other than the chief has in place of a run directory and reports: nothing written.

The same loop runs on every worker. What it reads of the run comes from the chief, and what it
would write, the chief writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from llm_timecycle.config.settings import Settings
from llm_timecycle.evaluation.stream import Sums
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.batches import Lanes
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.reporting.reporter import Reporter
from llm_timecycle.training.reporting.time_left import TimeLeft
from llm_timecycle.training.schedules import Plan
from llm_timecycle.training.workers.workers import Workers


@dataclass(frozen=True)
class FollowedRun(Run):
    """The chief's run, as another worker knows it; `manifest` is what the chief has sent of it."""

    manifest: Mapping[str, Any] = field(default_factory=dict)

    def read_manifest(self) -> dict[str, Any]:
        """What the chief has sent of it."""
        return dict(self.manifest)

    def save_weights(self, weights: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        """The chief does it."""

    def replace_settings(self, settings: Settings) -> Run:
        """The chief does it."""
        return self

    def record_logs(
        self, metrics_bytes: int | None = None, samples_bytes: int | None = None
    ) -> None:
        """The chief does it."""

    def record_plans(self, plans: Sequence[Mapping[str, Any]]) -> None:
        """The chief does it."""

    def remove_leftovers(self) -> None:
        """The chief does it."""


def open_reporter(
    workers: Workers,
    run: Run,
    progress: Progress,
    lanes: Lanes,
    valid_tokens: int,
    show_progress: bool,
    now: Callable[[], float],
) -> Reporter:
    """The reporter of this worker; see `Reporter`."""
    if workers.is_chief:
        return Reporter(run, progress, lanes, valid_tokens, show_progress, now)
    windows = valid_tokens / (lanes.lanes * lanes.window)
    time_left = TimeLeft(run.settings.training, lanes.steps_per_epoch, windows)
    return FollowingReporter(progress, time_left)


class FollowingReporter(Reporter):
    """Shows and writes nothing.

    Args:
        progress: of the run; the loop goes on to change it. time_left: as the loop notes it.
    """

    def __init__(self, progress: Progress, time_left: TimeLeft) -> None:
        self._progress, self.time_left, self.is_shown = progress, time_left, False

    def open(self, plan: Plan) -> AbstractContextManager[Any]:
        """Nothing is shown."""
        return nullcontext()

    def show_step(self, loss_nats: float, plan: Plan, used_s: float) -> None:
        """Nothing is shown."""

    def add_row(
        self, plan: Plan, sums: Sums | None, measured_s: Mapping[str, float], used_s: float
    ) -> None:
        """Begin the next row, as the chief does."""
        self._progress.begin_row()

    def add_validation(self, sums: Sums | None, is_best: bool, sample: str | None) -> None:
        """Nothing is shown."""

    def flush(self) -> None:
        """There is no file."""

    def close(self) -> None:
        """There is no file."""
