"""A real job of two workers: one is killed, all start again, and the end is that of one process."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import train_in

STEPS = 120
SETTINGS = f"""\
data: {{train: sample-english, valid_fraction: 0, test_fraction: 0}}
tokenizer: {{level: char}}
model: {{embedding_dim: 4, hidden_units: 8, num_layers: 1}}
training:
  {{batch_size: 4, sequence_length: 8, max_steps: {STEPS}, checkpoint_every: 10, log_every: 20,
   precision: float32, learning_rate: 0.01, threads: 1}}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_job_whose_worker_is_killed_ends_as_one_process_does(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SETTINGS)
    command = [sys.executable, "-m", "llm_timecycle", "launch", "--workers", "2", "tiny.yaml"]
    command += ["--restarts", "1", "--run", "many"]
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as launcher:
        checkpoints = tmp_path / "many/checkpoints"
        while not list(checkpoints.glob("step-*")):
            assert launcher.poll() is None
            time.sleep(0.01)
        os.kill(find_worker(launcher.pid, 1), signal.SIGKILL)
        _, shown = launcher.communicate()
    assert launcher.returncode == 0, shown
    (restart,) = [line for line in shown.splitlines() if "(restart 1 of 1)" in line]
    assert restart.startswith("worker 1 was ended by signal 9 (SIGKILL)")
    assert "resuming" in shown.lower()
    assert "Error" not in shown
    train_in(tmp_path, "tiny.yaml", "--run", "one")
    many, one = (read_losses(tmp_path / name) for name in ("many", "one"))
    assert len(one) == STEPS // 20
    assert many == pytest.approx(one, rel=1e-4)


def find_worker(launcher: int, index: int) -> int:
    """The process id of a worker."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == launcher and words[-3:-1] == [b"--worker-index", str(index).encode()]:
            return int(entry.name)
    raise AssertionError


def read_losses(run: Path) -> list[float]:
    rows = csv.DictReader((run / "metrics.csv").read_text().splitlines())
    return [float(row["train_loss_nats"]) for row in rows]
