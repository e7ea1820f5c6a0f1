"""The run log, `metrics.csv`: one row per logging step and per validation."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_timecycle.errors import RunError
from llm_timecycle.files import explain_os_error
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.schedules import Plan
from llm_timecycle.training.suggest.from_curve import Point

if TYPE_CHECKING:
    from llm_timecycle.evaluation.stream import Sums

STAGES = ("input", "compute", "validation", "checkpoint", "other")
COLUMNS = (
    "step",
    "epoch",
    "tokens",
    "wall_s",
    "train_loss_nats",
    "train_perplexity",
    "valid_loss_nats",
    "valid_perplexity",
    "valid_accuracy",
    "learning_rate",
    "gradient_norm",
    "tokens_per_s",
    *(f"{stage}_s" for stage in STAGES),
    "planned_steps",
)

Row = dict[str, float | int | None]


class MetricsLog:
    """Appends rows to `metrics.csv`, each flushed as it is written.

    Args:
        path: the file; created, with its header, if it is missing.
        length_bytes: how much of an existing file to keep: later rows belong to steps that a
            resumed run is about to repeat.
    """

    def __init__(self, path: Path, length_bytes: int) -> None:
        self._path = path
        try:
            self._file = path.open("a+b", buffering=0)
            self._file.truncate(length_bytes)
        except OSError as error:
            raise RunError(f"cannot write {path}: {explain_os_error(error)}") from error
        self._columns: Sequence[str] = COLUMNS
        if length_bytes == 0:
            self._write(COLUMNS)
        else:  # an earlier version wrote fewer columns
            with path.open(encoding="utf-8", newline="") as file:
                self._columns = next(csv.reader(file), COLUMNS)

    def append(self, row: Row) -> None:
        """Write one row; missing columns stay empty."""
        self._write([_format(row.get(column)) for column in self._columns])

    def flush(self) -> int:
        """Flush to disk; returns the size of the file in bytes."""
        os.fsync(self._file.fileno())
        return self._path.stat().st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, cells: Sequence[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        try:
            self._file.write(line.getvalue().encode())
        except OSError as error:
            raise RunError(f"cannot write {self._path}: {explain_os_error(error)}") from error


def make_row(
    progress: Progress,
    plan: Plan,
    steps_per_epoch: int,
    seconds: Mapping[str, float],
    sums: Sums | None,
) -> Row:
    """The row for the steps since the last one.

    Args:
        plan: the one in force.
        seconds: of each of `STAGES`, since the last row.
        sums: of the validation after the last step, if there was one.
    """
    from llm_timecycle.evaluation.stream import compute_perplexity

    training_s = seconds["input"] + seconds["compute"] + seconds["other"]
    loss = progress.loss_sum / progress.loss_tokens if progress.loss_tokens else None
    row: Row = {
        "step": progress.step,
        "epoch": progress.step / steps_per_epoch,
        "tokens": progress.tokens,
        "wall_s": progress.wall_s,
        "train_loss_nats": loss,
        "train_perplexity": None if loss is None else compute_perplexity(loss),
        "learning_rate": progress.learning_rate,
        "gradient_norm": progress.gradient_norm,
        "tokens_per_s": progress.loss_tokens / training_s if training_s > 0 else None,
        "planned_steps": None if plan.is_open else plan.steps,
    }
    if sums is not None:
        row["valid_loss_nats"] = sums.loss_nats_per_token
        row["valid_perplexity"] = sums.perplexity
        row["valid_accuracy"] = sums.accuracy
    return row | {f"{stage}_s": spent for stage, spent in seconds.items()}


def describe_row(row: Row) -> str:
    """A row of training steps in a line.

    >>> describe_row({"step": 50, "train_loss_nats": 2.5, "tokens_per_s": 9e3})
    'step 50: train loss 2.5000, 9000 tokens/s'
    """
    planned, rate_tokens_per_s = row.get("planned_steps"), row.get("tokens_per_s") or 0.0
    end = "" if planned is None else f" of {planned:,}"
    loss = f"train loss {row['train_loss_nats']:.4f}"
    return f"step {row['step']:,}{end}: {loss}, {rate_tokens_per_s:.0f} tokens/s"


def list_stage_seconds(measured: Mapping[str, float], wall_s: float) -> dict[str, float]:
    """Seconds of each of `STAGES`, with the unmeasured rest as "other": the sum is the wall time.

    >>> list_stage_seconds({"compute": 2.0, "input": 0.5}, wall_s=3.0)
    {'input': 0.5, 'compute': 2.0, 'validation': 0.0, 'checkpoint': 0.0, 'other': 0.5}
    """
    other = {"other": max(wall_s - sum(measured.values()), 0.0)}
    return {stage: {**measured, **other}.get(stage, 0.0) for stage in STAGES}


def add_stage_seconds(path: Path) -> dict[str, float]:
    """Seconds of each of `STAGES` over a whole `metrics.csv`, all sessions of the run included."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {stage: sum(float(row[f"{stage}_s"] or 0.0) for row in rows) for stage in STAGES}


def read_validations(path: Path) -> list[Point]:
    """Every validation in a `metrics.csv`, all sessions of the run included."""
    points, train_loss = [], None
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            train_loss = float(row["train_loss_nats"]) if row["train_loss_nats"] else train_loss
            if row["valid_loss_nats"]:
                points.append(Point(int(row["step"]), float(row["valid_loss_nats"]), train_loss))
    return points


def _format(value: float | int | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.9g}"
