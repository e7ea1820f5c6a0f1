"""Hundreds of requests, many of them left half way: the short form of scripts/soak_server.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from llm_timecycle.runs.directory import Run

SCRIPT = Path(__file__).parents[2] / "scripts/soak_server.py"


def test_nothing_is_lost_where_clients_leave(runs: dict[str, Run]) -> None:
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), str(runs["byte"].path), "--requests", "300"],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ", 0 wrong" in ended.stdout
