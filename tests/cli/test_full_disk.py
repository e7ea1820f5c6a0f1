"""A disk that fills up: while checkpoints are written, a real one, and while rows are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_timecycle.runs.directory import open_run
from tests.cli.conftest import Outcome
from tests.full_disk import limit_file_size


def mount_small_disk(place: Path, script: str) -> list[str]:
    """The command that runs a shell script where `place` is a file system of 2 MB."""
    mount = f"mount -t tmpfs -o size=2m tmpfs '{place}'"
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f"{mount} && {script}"]


def can_mount(place: Path) -> bool:
    if not (sys.platform == "linux" and shutil.which("unshare")):
        return False
    return subprocess.run(mount_small_disk(place, "true"), capture_output=True).returncode == 0


def test_a_full_disk_stops_the_run_and_loses_nothing(
    call: Callable[..., Outcome], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("this system lets nobody mount a file system of their own")
    train = f"{sys.executable} -m llm_timecycle train '{tmp_path}/tiny.yaml' --run '{disk}/run'"
    fill = "--set training.checkpoint_every=1 --set training.keep_checkpoints=1000"
    longer = "--set training.max_steps=400 --set training.epochs=100"
    script = f"{train} {fill} {longer}; echo exit $?; ls -A '{disk}/run/checkpoints'; "
    script += f"cp -r '{disk}/run' '{tmp_path}/saved'"  # from a disk that is gone at the end
    result = subprocess.run(
        mount_small_disk(disk, script), capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.stdout.split("\n")[0] == "exit 5", result.stderr
    assert "the disk is full" in result.stderr
    assert "the last good checkpoint is " in result.stderr
    assert ".tmp" not in result.stdout
    assert "step-5\n" in result.stdout
    assert "Traceback" not in result.stderr
    steps = [int(name[5:]) for name in result.stdout.split() if name.startswith("step-")]
    options = ("--set", f"training.max_steps={max(steps) + 1}", "--set", "training.epochs=100")
    resumed = call("train", "tiny.yaml", "--run", "saved", "--resume", *options)
    assert resumed.exit_code == 0, resumed.stderr
    assert f"after step {max(steps):,}" in resumed.stderr


def test_metrics_that_no_longer_fit_stop_the_run_and_lose_no_checkpoint(
    call: Callable[..., Outcome], tmp_path: Path
) -> None:
    """Of all files of this run, the rows of 120 steps are the largest."""
    (tmp_path / "own.txt").write_text("the same line again\n" * 600)  # few shingles
    settings = ("log_every=1", "max_steps=5000", "epochs=100", "checkpoint_every=40")
    settings = ("data.train=own.txt", *(f"training.{each}" for each in settings))
    options = [word for each in settings for word in ("--set", each)]
    with limit_file_size(16_000):
        outcome = call("train", "tiny.yaml", *options)
    assert outcome.exit_code == 5
    assert "Error: cannot write runs/tiny/metrics.csv: the disk is full" in outcome.stderr
    assert "the same settings: llm-timecycle train runs/tiny --resume\n" in outcome.stderr
    run = open_run(tmp_path / "runs" / "tiny")
    assert run.read_metrics()
    assert len(list(run.checkpoints_path.iterdir())) == 2
