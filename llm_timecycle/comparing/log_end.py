"""The last row of a run's `metrics.csv`, read from its end: a long log takes no longer."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import BinaryIO

from llm_timecycle.errors import RunError
from llm_timecycle.files import open_regular
from llm_timecycle.runs.manifest import RESTORE

NAME = "metrics.csv"
COLUMNS = ("step", "planned_steps", "epoch", "tokens", "wall_s")
"""Those that are read."""
END_BYTES = 1 << 14
"""Of the file, from its end; a row has about 200."""


def read_last_row(run: Path) -> dict[str, float]:
    """Those of `COLUMNS` that have a value in the last complete row; empty where there is no row.

    A process that trains the run may be in the middle of writing a row.

    Raises:
        RunError: the file cannot be read, or is no such log.
    """
    path = run / NAME
    try:
        with open_regular(path) as file:
            columns = file.readline(END_BYTES).decode("ascii").rstrip("\n").split(",")
            line = _read_last_line(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}. {RESTORE}") from error
    if line is None:
        return {}
    try:
        row = dict(zip(columns, next(csv.reader([line])), strict=True))
        values = {key: float(row[key]) for key in COLUMNS if row.get(key)}
    except (ValueError, csv.Error, StopIteration):
        values = {}
    if "step" not in values or not all(0 <= value <= 2**53 for value in values.values()):
        raise RunError(f"{path} cannot be read: its last row is damaged. {RESTORE}")
    return values


def _read_last_line(file: BinaryIO) -> str | None:
    """The last line that ends, without its end; None if there is none after where the file is."""
    start, size = file.tell(), file.seek(0, os.SEEK_END)
    file.seek(max(start, size - END_BYTES))
    lines = file.read(END_BYTES).split(b"\n")[:-1]
    return lines[-1].decode("ascii") if lines else None
