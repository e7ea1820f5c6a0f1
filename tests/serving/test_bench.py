"""scripts/bench/serving.py on a tiny model: what it measures differs, that it does so does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llm_timecycle.runs.directory import Run

SCRIPT = Path(__file__).parents[2] / "scripts/bench/serving.py"


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (["--clients", "2", "--prompt-tokens", "3", "--tokens", "9"], ["ours "]),
        (
            ["--long-prompt", "500"],
            ["before a prompt of 500 tokens", "during", "the long prompt's"],
        ),
        (["--start"], ["answering", "loaded"]),
    ],
)
def test_it_measures(runs: dict[str, Run], options: list[str], rows: list[str]) -> None:
    command = [sys.executable, str(SCRIPT), str(runs["char"].path), "--requests", "1", *options]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    printed = ended.stdout.splitlines()[-len(rows) :]
    assert all(line.startswith(row) for line, row in zip(printed, rows, strict=True)), ended.stdout
