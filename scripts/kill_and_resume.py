"""Kill a training run at random moments, resume it each time, and compare it with one left alone.

    .venv/bin/python scripts/kill_and_resume.py --kills 20

A short run is trained without interruption. Then the same run is trained again while `kill -9`
strikes at random moments; every other strike waits for a checkpoint to be half written. After each
kill the run is resumed. In the end weights, checkpoint, losses and samples must be equal to the
bit. The run has all that a checkpoint must hold: dropout, averaged weights, random window lengths.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPTIONS = {
    "data.train": "sample-english",
    "tokenizer.level": "char",
    "model.embedding_dim": "64",
    "model.hidden_units": "256",
    "model.dropout": "0.2",
    "model.weight_drop": "0.2",
    "training.batch_size": "64",
    "training.sequence_length": "16",
    "training.vary_sequence_length": "true",
    "training.averaging": "triggered",
    "training.averaging_patience": "1",
    "training.schedule": "constant",
    "training.patience": "null",
    "training.learning_rate": "0.05",
    "training.max_steps": "300",
    "training.eval_every": "5",
    "training.checkpoint_every": "8",
    "training.log_every": "10",
    "training.precision": "float32",
}


def make_command(run: Path, resume: bool, options: dict[str, str]) -> list[str]:
    """The command line of one training session."""
    settings = [word for pair in options.items() for word in ("--set", "=".join(pair))]
    command = [sys.executable, "-m", "llm_timecycle", "train", "char", "--run", str(run)]
    return [*command, *settings, *(["--resume"] if resume else [])]


def list_steps(run: Path, pattern: str) -> list[int]:
    """The steps whose checkpoints (`step-*`) or unfinished ones (`.step-*.tmp`) are there."""
    found = (run / "checkpoints").glob(pattern)
    return sorted(int(path.name.split("-")[1].removesuffix(".tmp")) for path in found)


def strike(
    process: subprocess.Popen[bytes], run: Path, draw: random.Random, mid_write: bool
) -> str:
    """Kill the process at a random moment; returns what it was doing, or "done" if it had ended.

    It first gets past its start: it writes at least one checkpoint that was not there before.
    """
    newest_before = max(list_steps(run, "step-*"), default=0)
    while process.poll() is None and max(list_steps(run, "step-*"), default=0) <= newest_before:
        time.sleep(0.005)
    time.sleep(draw.uniform(0.0, 0.5))

    def is_writing() -> bool:
        newest = max(list_steps(run, "step-*"), default=0)
        return any(step > newest for step in list_steps(run, ".step-*.tmp"))

    while mid_write and process.poll() is None and not is_writing():
        pass
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        return "done"
    return "writing a checkpoint" if is_writing() else "training"


def read_losses(run: Path) -> list[tuple[str, ...]]:
    """The columns of metrics.csv that do not depend on the clock."""
    columns = ("step", "epoch", "tokens", "train_loss_nats", "valid_loss_nats", "learning_rate")
    with (run / "metrics.csv").open(newline="") as file:
        return [tuple(row[c] for c in columns) for row in csv.DictReader(file)]


def count_averaged_steps(run: Path) -> int:
    """The steps whose weights are averaged in the newest checkpoint."""
    newest = max(list_steps(run, "step-*"))
    state = json.loads((run / "checkpoints" / f"step-{newest}" / "state.json").read_text())
    return int(state["progress"]["averaged_steps"])


def list_differences(a: Path, b: Path) -> list[str]:
    """What differs between two finished runs, to the bit."""
    names = ["model.safetensors", "samples.txt"]
    names += [str(p.relative_to(a)) for p in a.glob("checkpoints/step-*/tensors.safetensors")]
    different = [
        n for n in names if not (b / n).exists() or (a / n).read_bytes() != (b / n).read_bytes()
    ]
    return different + (["metrics.csv"] if read_losses(a) != read_losses(b) else [])


def main() -> int:
    """Run the comparison; 0 where the runs are equal."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as place:
        alone, killed = Path(place) / "alone", Path(place) / "killed"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
        subprocess.run(make_command(alone, False, OPTIONS), check=True, **quiet)
        if count_averaged_steps(alone) == 0:
            print("averaging never began: raise its learning rate")
            return 1
        kills = {"training": 0, "writing a checkpoint": 0}
        while sum(kills.values()) < arguments.kills:
            command = make_command(killed, killed.exists(), OPTIONS)
            process = subprocess.Popen(command, **quiet)
            doing = strike(process, killed, draw, mid_write=sum(kills.values()) % 2 == 1)
            if doing == "done":
                why = "raise its steps" if process.returncode == 0 else "it failed"
                print(f"the run ended before all kills were done: {why}")
                return 1
            kills[doing] += 1
            newest = max(list_steps(killed, "step-*"))
            print(f"kill {sum(kills.values())}: while {doing}, after step {newest}", flush=True)
        subprocess.run(make_command(killed, True, OPTIONS), check=True, **quiet)
        different = list_differences(alone, killed)
        print(f"{arguments.kills} kills: {kills}; different files: {different or 'none'}")
        return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
