"""A small training on several machines of a network, run by the program's own launcher."""

from __future__ import annotations

import csv
import hashlib
import logging
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster_faults.forking import DIRECTORY, fork_workers
from cluster_faults.network import Network

from llm_timecycle.distributed.launcher import Patience, run_job
from llm_timecycle.distributed.worker_process import WorkerCommand
from llm_timecycle.errors import Interrupted, TimecycleError
from llm_timecycle.runs.directory import open_run

PORT = 4000
STALL_S = 5.0
STEPS = 120
SETTINGS = """\
data: {train: sample-english, valid_fraction: 0, test_fraction: 0}
tokenizer: {level: char}
model: {embedding_dim: 8, hidden_units: 16, num_layers: 1}
training:
  {batch_size: 8, sequence_length: 16, max_steps: 120, checkpoint_every: 10, keep_checkpoints: 2,
   log_every: 60, precision: float32, learning_rate: 0.01, threads: 1}
"""


@dataclass
class Outcome:
    """How a job went."""

    messages: list[tuple[float, str]] = field(default_factory=list)
    """What the launcher said, each with its time on the clock `time.monotonic`."""
    began_s: float = 0.0
    ended_s: float = 0.0
    exit_code: int = 0

    @property
    def wall_s(self) -> float:
        """How long it took."""
        return self.ended_s - self.began_s


class _Note(logging.Handler):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(logging.WARNING)
        self._outcome = outcome

    def emit(self, record: logging.LogRecord) -> None:
        self._outcome.messages.append((time.monotonic(), record.getMessage()))


@dataclass
class Job:
    """A training by `workers` machines of a network, in a directory with `tiny.yaml`."""

    network: Network
    place: Path
    workers: int

    @property
    def run(self) -> Path:
        """Its run directory."""
        return self.place / "runs" / "my"

    def prepare(self) -> None:
        """Make the directory."""
        self.run.parent.mkdir(parents=True)
        (self.place / "tiny.yaml").write_text(SETTINGS)

    def train(self, restarts: int = 3) -> Outcome:
        """Train, or go on with it; what workers print goes to `log` beside the run."""
        outcome = Outcome(began_s=time.monotonic())
        note = _Note(outcome)
        logger = logging.getLogger("llm_timecycle")
        logger.addHandler(note)
        logger.propagate = False
        try:
            with (self.place / "log").open("ab", buffering=0) as shown:
                patience = Patience(before_restart_s=0.2)
                with fork_workers():
                    run_job(self._make_commands, restarts, patience=patience, write=shown.write)
        except Interrupted:  # Ctrl-C
            raise
        except TimecycleError as error:
            outcome.exit_code = error.exit_code
            outcome.messages.append((time.monotonic(), str(error)))
        finally:
            logger.removeHandler(note)
        outcome.ended_s = time.monotonic()
        return outcome

    def find_worker(self, index: int) -> int | None:
        """The process id of a worker; None where it does not run."""
        name = self.network.enter(index)[-1]
        found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
        return int(found.stdout.split()[0]) if found.stdout else None

    def read_end(self) -> tuple[float | None, str]:
        """The loss of the last steps of the finished run, and the hash of its weights."""
        run = open_run(self.run)
        *_, row = csv.DictReader(run.metrics_path.read_text().splitlines())
        weights = hashlib.sha256(run.weights_path.read_bytes()).hexdigest()[:12]
        loss = float(row["train_loss_nats"]) if int(row["step"]) == STEPS else None
        return loss, weights

    def list_left(self) -> list[str]:
        """Processes that are still on the machines."""
        left: list[str] = []
        for index in range(self.workers):
            name = self.network.enter(index)[-1]
            found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
            left += found.stdout.split()
        return left

    def _make_commands(self, attempt: int) -> Sequence[WorkerCommand]:
        if attempt:
            self.network.repair()
        addresses = ",".join(f"{each}:{PORT}" for each in self.network.addresses[: self.workers])
        resume = ["--resume"] if (self.run / "manifest.json").exists() else []
        arguments = ["train", "tiny.yaml", "--run", str(self.run), *resume]
        arguments += ["--stall-timeout", f"{STALL_S:g}", "--workers", addresses]
        environment = {
            DIRECTORY: str(self.place),
            "LLM_TIMECYCLE_CACHE": str(self.place.parent / "cache"),
        }
        return [
            WorkerCommand(
                [
                    *self.network.enter(index),
                    *("llm-timecycle", *arguments, "--worker-index", str(index)),
                ],
                environment,
            )
            for index in range(self.workers)
        ]
