"""The benchmark of repetition: its figures by hand, and a run measured under a few candidates."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.options import override_settings

BENCH = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "bench" / "repetition.py"))
HELD_OUT = {"repetition": 0.1, "distinct_2": 0.5, "apart": 2}


def make_point(run: str, candidate: str, repetition: float, distinct: float) -> dict[str, Any]:
    return {
        "run": run,
        "candidate": candidate,
        "repetition": repetition,
        "distinct_2": distinct,
        "held_out": HELD_OUT,
    }


@pytest.mark.parametrize("kind", ["char", "word", "subword", "byte", "CJK"])
def test_every_candidate_is_allowed(kind: str) -> None:
    candidates = BENCH["list_candidates"](kind)
    assert len(candidates) > 5
    for changes in candidates.values():
        settings = override_settings(GenerationSettings(), changes)
        assert {name: getattr(settings, name) for name in changes} == changes


def test_windows_by_hand() -> None:
    ids = np.array([1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8])
    found = BENCH["measure_windows"](ids, 2, 8)  # from 0 and from 4; only one does not overlap
    assert found == {"repetition": (1 / 5 + 0) / 2, "distinct_2": 4 / 7, "apart": 1}


def test_the_nearest_to_held_out_text_comes_first() -> None:
    points = [
        make_point("runs/a", "far", 0.4, 0.5),
        make_point("runs/b", "far", 0.1, 0.5),
        make_point("runs/a", "near", 0.1, 0.5),
        make_point("runs/b", "near", 0.05, 0.5),
        make_point("runs/a", "only one run", 0.1, 0.5),
    ]
    lines = list(BENCH["write_table"](points))
    assert lines == [
        "| | a | b | distance |",
        "| --- | --- | --- | --- |",
        "| held-out text: repetition, distinct-2 | 0.100, 0.500 | 0.100, 0.500 | |",
        "| near | 1.00, 1.00 | 0.50, 1.00 | 1.19 |",  # 2 ** (1 / 4)
        "| far | 4.00, 1.00 | 1.00, 1.00 | 1.41 |",  # 4 ** (1 / 4)
    ]


def test_points_are_read_back(tmp_path: Path) -> None:
    file = tmp_path / "points.jsonl"
    assert BENCH["read_points"](file) == []
    file.write_text(json.dumps({"run": "a"}) + "\n")
    assert BENCH["read_points"](file) == [{"run": "a"}]
