"""Train the same run with 1, 2 and 4 workers on this machine, and compare their losses.

    .venv/bin/python scripts/compare_workers.py [--steps N] [--set KEY=VALUE]...

A small model with every kind of dropout, on the English sample. Three tables: the losses of N steps
(200 unless told) beside those of one process, with the same for a run in groups
(training.accumulate=4) and for two workers a second time, which must have the same bits; a run that
goes from 2 workers to 1 to 4; and how often each token of the text was read in it. Ends with exit
code 1 where a loss is more than 0.0001 nats off, a bit differs, or a token was read too often or
too seldom.
"""

from __future__ import annotations

import argparse
import csv
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from llm_timecycle.distributed.addresses import choose_local_addresses
from llm_timecycle.runs.directory import open_run
from llm_timecycle.text.prepare import find_cache_directory, prepare_text
from llm_timecycle.training.session import cut_training_lanes
from llm_timecycle.training.workers.workers import Workers

# A rate that falls to the end of a run would depend on where its sessions end.
SETTINGS = """
data:
  train: sample-english
tokenizer:
  level: char
model:
  embedding_dim: 16
  hidden_units: 32
  num_layers: 2
  dropout: 0.2
  weight_drop: 0.2
  embedding_dropout: 0.1
training:
  batch_size: 16
  sequence_length: 25
  precision: float32
  threads: 2
  log_every: 1
  eval_every: 50
  schedule: constant
  temporal_activation_regularization: 1.0
"""
MOST_NATS = 1e-4
"""By which a loss may differ."""


@dataclass(frozen=True)
class Curve:
    """What a run has written: its losses by step, and its weights."""

    train: dict[int, float]
    valid: dict[int, float]
    weights: bytes


def train(run: Path, workers: int, steps: int, settings: Sequence[str], *, resume: bool) -> None:
    """Train with so many workers to a step, as commands."""
    source = [str(run), "--resume"] if resume else [str(run.parent / "my.yaml"), "--run", str(run)]
    sets = [f"training.max_steps={steps}", *settings]
    command = [sys.executable, "-m", "llm_timecycle", "train", *source]
    command += [word for each in sets for word in ("--set", each)]
    calls = [command]
    if workers > 1:
        addresses = ",".join(choose_local_addresses(workers, random.Random()))
        options = ["--workers", addresses, "--worker-index"]
        calls = [[*command, *options, str(index)] for index in range(workers)]
    started = [subprocess.Popen(call, stderr=subprocess.PIPE) for call in calls]
    errors = [process.communicate()[1].decode() for process in started]
    if any(process.returncode for process in started):
        sys.exit("\n".join(errors))


def read_curve(run: Path) -> Curve:
    """The losses and the weights of a run."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ("train_loss_nats", "valid_loss_nats")
    losses = [{int(row["step"]): float(row[name]) for row in rows if row[name]} for name in columns]
    newest = max(run.glob("checkpoints/step-*"), key=lambda path: int(path.name[5:]))
    return Curve(losses[0], losses[1], (newest / "tensors.safetensors").read_bytes())


def write_row(name: str, curve: Curve, alone: Curve) -> str:
    """A row of a table: losses at some steps, and the largest difference from one process."""
    last = max(alone.train)
    shown = " ".join(f"{curve.train[step]:10.6f}" for step in (1, last // 2, last))
    off = " ".join(f"{nats:11.1e}" for nats in find_differences(curve, alone))
    return f"{name:26} {shown} {curve.valid[last]:10.6f} {off}"


def find_differences(curve: Curve, alone: Curve) -> tuple[float, float]:
    """By how many nats training and validation losses differ at most, at the steps of one process.

    A run that was resumed has also been validated where its sessions ended.
    """
    pairs = ((curve.train, alone.train), (curve.valid, alone.valid))
    train, valid = (max(abs(a[step] - b[step]) for step in b) for a, b in pairs)
    return train, valid


def is_near(curve: Curve, alone: Curve) -> bool:
    """Whether all losses are within `MOST_NATS`."""
    return max(find_differences(curve, alone)) <= MOST_NATS


class Member(Workers):
    """A worker that is not connected: it says which lanes it has."""

    def __init__(self, index: int, size: int) -> None:
        self.index, self.size = index, size


def count_reads(run: Path, sessions: Sequence[tuple[int, int]]) -> tuple[int, int, int]:
    """Predictions of the text in one epoch, and how often each is made: least and most times.

    Args:
        sessions: workers, and the step to which they trained.
    """
    settings = open_run(run).settings
    text = prepare_text(settings, run, find_cache_directory(), False)
    lanes = cut_training_lanes(settings, text)
    positions = replace(lanes, ids=np.arange(len(lanes.ids), dtype=np.int64))
    times = np.zeros(lanes.lanes * lanes.lane_length, np.int64)
    first = 0
    for size, last in sessions:
        for step in range(first, last):
            for index in range(size):
                own = Member(index, size).own_lanes(lanes.lanes)
                inputs, _ = replace(positions, own=own).read_window(step)[:2]
                np.add.at(times, inputs.ravel(), 1)
        first = last
    due = np.zeros_like(times).reshape(lanes.lanes, lanes.lane_length)
    epochs, rest = divmod(first, lanes.steps_per_epoch)
    due += epochs
    due[:, : lanes.find_window(rest)[0] if rest else 0] += 1
    wrong = times - due.ravel()
    return int(due.sum()), int(wrong.min()), int(wrong.max())


def main() -> None:
    """Train, print the tables, and say whether all is well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    steps, settings = options.steps, options.set
    is_well = True
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "my.yaml").write_text(SETTINGS, encoding="utf-8")
        kinds = {"1 process": (1, []), "2 workers": (2, []), "2 workers, again": (2, [])}
        kinds |= {"4 workers": (4, [])}
        kinds |= {"accumulate 4": (1, ["training.accumulate=4"])}
        kinds |= {"2 workers, accumulate 4": (2, ["training.accumulate=4"])}
        curves: dict[str, Curve] = {}
        shown = (1, steps // 2, steps)
        heads = " ".join(f"{f'step {step}':>10}" for step in shown)
        print(f"{'':26} {heads} {'validation':>10} {'max off':>11} {'valid off':>11}")
        for number, (name, (workers, more)) in enumerate(kinds.items()):
            run = place / str(number)
            train(run, workers, steps, [*settings, *more], resume=False)
            curves[name] = read_curve(run)
            print(write_row(name, curves[name], curves["1 process"]), flush=True)
            is_well &= is_near(curves[name], curves["1 process"])
        same = curves["2 workers"].weights == curves["2 workers, again"].weights
        print(f"2 workers twice: the same bits in every tensor: {'yes' if same else 'NO'}")
        sessions = [(2, steps * 35 // 100), (1, steps * 7 // 10), (4, steps)]
        run = place / "changing"
        for number, (workers, last) in enumerate(sessions):
            train(run, workers, last, settings, resume=number > 0)
        told = ", ".join(f"{size} to step {last}" for size, last in sessions)
        print(f"\nworkers: {told}")
        changed = read_curve(run)
        print(write_row("2, 1, 4 workers", changed, curves["1 process"]))
        due, least, most = count_reads(run, sessions)
        print(
            f"\n{due:,} predictions were due in {steps} steps; each was made as often as it was "
            f"due: {'yes' if (least, most) == (0, 0) else f'NO, {least:+} to {most:+}'}"
        )
        is_well &= same and is_near(changed, curves["1 process"]) and (least, most) == (0, 0)
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
