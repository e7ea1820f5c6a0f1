"""A training struck at each of its writes, and what is left resumed: the short form of
scripts/kill_at_every_write.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from boundaries.disk import Disk, read_state
from boundaries.operations import Operation, Perform, watch
from boundaries.strikes import FAULTS, SHORT

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def strike(what: str, place: Path) -> dict[str, Any]:
    """What `striking` finds in a process that has not imported TensorFlow."""
    command = [sys.executable, "-m", "tests.runs.striking", what, str(place)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_nothing_is_lost_wherever_a_training_is_struck(tmp_path: Path) -> None:
    found = strike("new", tmp_path)
    assert found["lost"] == []
    assert found["unclear"] == []
    assert found["broken_rules"] == []
    assert found["unflushed"] == []
    assert len(found["operations"]) > 140
    assert any(operation.startswith("fsync") for operation in found["operations"])
    kinds = {"killed", "power cut", SHORT.name, *(fault.name for fault in FAULTS)}
    assert set(found["kinds"]) == kinds


def test_a_longer_run_is_struck_where_its_settings_are_replaced(tmp_path: Path) -> None:
    found = strike("longer", tmp_path)
    assert found["lost"] == []
    assert found["strikes"] > 20


def test_what_is_not_flushed_does_not_survive_a_power_cut(tmp_path: Path) -> None:
    """The harness itself: three ways to lose a file, each found."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "a").write_bytes(b"old")
    disk = Disk(place)

    def around(operation: Operation, perform: Perform) -> object:
        result = perform()
        disk.note(operation)
        return result

    with watch(place, around):
        with (place / ".a.tmp").open("wb") as file:
            file.write(b"new")
        (place / ".a.tmp").replace(place / "a")
    assert disk.broken_rules == ["rename .a.tmp a: .a.tmp is not flushed"]
    assert [dict(cut) for cut in disk.list_cuts()] == [
        {"a": b"old"},
        {"a": b"old", ".a.tmp": b""},
        {"a": b""},
        {"a": b""},
    ]
    assert read_state(place) == {"a": b"new"}
    assert disk.list_unflushed() == ["a"]
