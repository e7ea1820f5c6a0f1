"""The run log, `metrics.csv`: one row per logging step and per validation."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from llm_timecycle.errors import RunError
from llm_timecycle.evaluation.figures import compute_perplexity
from llm_timecycle.files import open_regular
from llm_timecycle.runs.manifest import RESTORE
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.reporting.growing_file import GrowingFile
from llm_timecycle.training.reporting.time_left import write_time
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


class MetricsLog(GrowingFile):
    """Appends rows to `metrics.csv`.

    Args:
        path: the file; created, with its header, if it is missing.
        length_bytes: how much of an existing file to keep, see `GrowingFile`.
    """

    def __init__(self, path: Path, length_bytes: int) -> None:
        super().__init__(path, length_bytes)
        self._columns: Sequence[str] = COLUMNS
        if length_bytes == 0:
            self.append(_write_line(COLUMNS))
        else:  # an earlier version wrote fewer columns
            with _read(path) as rows:
                self._columns = rows.fieldnames or COLUMNS

    def append_row(self, row: Row) -> None:
        """Write one row; missing columns stay empty."""
        self.append(_write_line([_format(row.get(column)) for column in self._columns]))


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


def describe_row(row: Row, left_s: float | None = None) -> str:
    """A row of training steps in a line.

    Args:
        left_s: seconds to the end of the run; None while that is not known.

    >>> describe_row({"step": 50, "train_loss_nats": 2.5, "tokens_per_s": 9e3}, left_s=75.0)
    'step 50: train loss 2.5000, 9000 tokens/s, 1:15 left'
    """
    planned, rate_tokens_per_s = row.get("planned_steps"), row.get("tokens_per_s") or 0.0
    end = "" if planned is None else f" of {planned:,}"
    loss = f"train loss {row['train_loss_nats']:.4f}"
    left = "" if left_s is None else f", {write_time(left_s)} left"
    return f"step {row['step']:,}{end}: {loss}, {rate_tokens_per_s:.0f} tokens/s{left}"


def list_stage_seconds(measured: Mapping[str, float], wall_s: float) -> dict[str, float]:
    """Seconds of each of `STAGES`, with the unmeasured rest as "other": the sum is the wall time.

    >>> list_stage_seconds({"compute": 2.0, "input": 0.5}, wall_s=3.0)
    {'input': 0.5, 'compute': 2.0, 'validation': 0.0, 'checkpoint': 0.0, 'other': 0.5}
    """
    other = {"other": max(wall_s - sum(measured.values()), 0.0)}
    return {stage: {**measured, **other}.get(stage, 0.0) for stage in STAGES}


def add_stage_seconds(path: Path, length_bytes: int | None = None) -> dict[str, float]:
    """Seconds of each of `STAGES` over a whole `metrics.csv`, all sessions of the run included.

    Args:
        path: the file.
        length_bytes: how much of it to read; None reads all.

    Raises:
        RunError: it is no such file.
    """
    with _read(path, length_bytes) as rows:
        cells = [[float(row[f"{stage}_s"] or 0.0) for stage in STAGES] for row in rows]
    return {stage: sum(each[place] for each in cells) for place, stage in enumerate(STAGES)}


def read_validations(path: Path, length_bytes: int | None = None) -> list[Point]:
    """Every validation in a `metrics.csv`, all sessions of the run included.

    Args and errors are those of `add_stage_seconds`.
    """
    points, train_loss = [], None
    with _read(path, length_bytes) as rows:
        for row in rows:
            train_loss = float(row["train_loss_nats"]) if row["train_loss_nats"] else train_loss
            if row["valid_loss_nats"]:
                points.append(Point(int(row["step"]), float(row["valid_loss_nats"]), train_loss))
    return points


@contextmanager
def _read(path: Path, length_bytes: int | None = None) -> Iterator[csv.DictReader[str]]:
    """The rows of a `metrics.csv`; RunError where what is made of them fails."""
    try:
        with open_regular(path) as file:
            content = io.BytesIO(file.read(-1 if length_bytes is None else length_bytes))
        yield csv.DictReader(io.TextIOWrapper(content, encoding="utf-8", newline=""))
    except KeyError as error:
        raise RunError(f"{path} cannot be read: no column {error.args[0]}. {RESTORE}") from error
    except (OSError, ValueError, TypeError, csv.Error) as error:
        # It may quote a cell, however long.
        raise RunError(f"{path} cannot be read: {error!s:.200}. {RESTORE}") from error


def _format(value: float | int | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.9g}"


def _write_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
