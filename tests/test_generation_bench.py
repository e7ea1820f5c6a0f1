"""The benchmark of generation, on a tiny model: that it runs, and tells what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench" / "generation.py"


def test_one_quick_round_gives_every_figure() -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--program", "ours numpy", "--json"]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    report = json.loads(finished.stdout)
    # By hand: 4 x (lstm_1 (4 + 8 + 1) x 32 + lstm_2 (8 + 8 + 1) x 32 + output (8 + 1) x 64)
    assert report["weight_bytes"] == 4 * (416 + 544 + 576)
    read_s = report["weight_bytes"] / (report["read_gb_per_s"] * 1e9)
    assert report["floor_s"] == pytest.approx(read_s, rel=1e-12)  # the same but for rounding
    figures = report["programs"]["ours numpy"]
    assert figures.keys() == {"first", "peak", "1", "8", "32", "128", "prompt"}
    assert all(0 < figure["least"] <= figure["most"] for figure in figures.values())
    judged = {row["figure"]: row["measured"] for row in report["figures"]}
    assert judged.keys() == {"first token, s", "batch 1, share of the floor", "peak memory, MB"}
    assert judged["first token, s"] == figures["first"]["median"]
