"""How a training ended: what must be equal to the bit, and whether it said clearly what failed."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from llm_timecycle.errors import TimecycleError
from llm_timecycle.runs.directory import open_run
from llm_timecycle.runs.learned import load_shingles, load_spelling
from llm_timecycle.training.checkpoints import list_checkpoints
from llm_timecycle.training.reporting.metrics import STAGES

MANIFEST = "manifest.json"
CLOCKS = ("wall_s", "logged_wall_s", "active_s", "tokens_per_s", "metrics_bytes")
CLOCKS += tuple(f"{stage}_s" for stage in STAGES)
"""Columns of metrics.csv and entries of a checkpoint that differ from one training to the next."""


def describe_end(run: Path) -> dict[str, Any]:
    """What two trainings that went the same way have in common.

    Raises:
        TimecycleError: the run cannot be opened. OSError: a file is missing.
        ValueError: the manifest does not describe the files as they are.
    """
    end: dict[str, Any] = {}
    newest = list_checkpoints(run / "checkpoints")[-1]
    for path in (*run.iterdir(), *newest.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            end[str(path.relative_to(run))] = _read_without_clocks(path)
    manifest = json.loads((run / MANIFEST).read_bytes())
    for name, entry in manifest["files"].items():
        content = (run / name).read_bytes()
        if [len(content), sha256(content).hexdigest()] != [entry["bytes"], entry["sha256"]]:
            raise ValueError(f"{name} is not as the manifest says")
    opened = open_run(run)
    opened.load_weights()
    load_spelling(opened)
    load_shingles(opened)
    return end


def _read_without_clocks(path: Path) -> Any:
    """What is in a file, apart from what differs from one training to the next."""
    if path.name == "metrics.csv":
        return list_rows(path)
    if path.name == MANIFEST:
        manifest = json.loads(path.read_bytes())
        del manifest["files"]["metrics.csv"]
        return {**manifest, "sha256": None}
    if path.name == "state.json":
        progress = json.loads(path.read_bytes())["progress"]
        return {name: value for name, value in progress.items() if name not in CLOCKS}
    return path.read_bytes()


def list_rows(metrics: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, without the columns of a clock."""
    with metrics.open(newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in CLOCKS}
            for row in csv.DictReader(file)
        ]


def find_difference(run: Path, expected: dict[str, Any]) -> str:
    """What differs from the end that was expected; "" where nothing does."""
    try:
        end = describe_end(run)
    except (OSError, TimecycleError, ValueError, KeyError) as error:
        return f"the end cannot be read: {type(error).__name__}: {error}"
    return ", ".join(sorted(k for k in end.keys() | expected if end.get(k) != expected.get(k)))


def find_fault_of_message(exit_code: int, output: str) -> str:
    """What is wrong with how a command failed; "" for a clear message with its exit code."""
    if "Traceback" in output or "internal error" in output:
        return "an internal error"
    if exit_code not in (2, 3, 4, 5):
        return f"exit code {exit_code}"
    message = output[output.rfind("Error: ") :] if "Error: " in output else ""
    return "" if len(message) > 40 else "no message"


def find_advice(output: str, resume: Sequence[str]) -> tuple[str | None, list[str] | None]:
    """What a message says to delete, and the command that it gives.

    Args:
        resume: the command where it shall have the same settings as the one before.
    """
    message = output[output.rfind("Error: ") :]
    doomed = re.search(r"\bDelete (\S+?)[,.]? ", message)
    command = re.search(r"llm-timecycle (train \S+ --resume)", message)
    words = command and command[1].split()
    if words and "with the same settings" in message:
        words = list(resume)
    return doomed and doomed[1], words


def find_step(output: str) -> int:
    """The step after which a command resumed a run; 0 where it began anew."""
    found = re.search(r"resuming after step ([\d,]+)|is complete \(([\d,]+) steps", output)
    return int((found[1] or found[2]).replace(",", "")) if found else 0


def list_leftovers(place: Path) -> list[str]:
    """Temporary files and directories, which nothing should leave."""
    hidden = (p for p in place.rglob(".*") if p.name != ".lock")
    return sorted(str(path.relative_to(place)) for path in hidden)
