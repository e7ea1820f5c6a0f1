"""A disk that fills up while checkpoints are written: a real one, of three megabytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import TINY


def mount_small_disk(place: Path, script: str) -> list[str]:
    """The command that runs a shell script where `place` is a file system of 3 MB."""
    mount = f"mount -t tmpfs -o size=3m tmpfs '{place}'"
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f"{mount} && {script}"]


def can_mount(place: Path) -> bool:
    if not (sys.platform == "linux" and shutil.which("unshare")):
        return False
    return subprocess.run(mount_small_disk(place, "true"), capture_output=True).returncode == 0


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("this system lets nobody mount a file system of their own")
    (tmp_path / "tiny.yaml").write_text(TINY)
    train = f"{sys.executable} -m llm_timecycle train '{tmp_path}/tiny.yaml' --run '{disk}/run'"
    fill = "--set training.checkpoint_every=1 --set training.keep_checkpoints=1000"
    longer = "--set training.max_steps=400 --set training.epochs=100"
    shorten = "rm -r checkpoints/step-1 checkpoints/step-2 checkpoints/step-3"
    script = (
        f"{train} {fill} {longer}; echo exit $?; cd '{disk}/run'; ls -A checkpoints; {shorten}; "
        f"{train} --resume --set training.max_steps=2; echo exit $?"
    )
    result = subprocess.run(
        mount_small_disk(disk, script), capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.stdout.split("\n")[0] == "exit 5", result.stderr
    assert "the disk is full" in result.stderr
    assert "the last good checkpoint is " in result.stderr
    assert ".tmp" not in result.stdout
    assert "step-5\n" in result.stdout
    assert "Traceback" not in result.stderr
    assert result.stdout.rstrip().endswith("exit 0"), result.stderr
