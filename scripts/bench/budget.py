"""How near a training run with a budget ends to it.

    .venv/bin/python scripts/bench/budget.py [CONFIG] [--minutes M ...] [--runs N] [--busy]
                                             [--set KEY=VALUE]... [--run DIR] [--json]

Trains CONFIG with each budget in a process of its own, N times, and times that process from
outside, from its start to its exit. Given are the deviation from the budget, the steps, the plans
that were made, the best validation loss, and the seconds from the last checkpoint to the exit.

`--busy` makes the machine busy at half time: a process with a working thread on every core. The
runs are kept in the directory that `--run` names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from llm_timecycle.system import count_hardware_threads

BUSY = """
import sys, threading, numpy
def work():
    a = numpy.ones((256, 256))
    while True:
        a @ a
for _ in range(int(sys.argv[1])):
    threading.Thread(target=work).start()
"""


def start_busy_process() -> subprocess.Popen[bytes]:
    """A process that keeps every core busy."""
    threads = count_hardware_threads()
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", BUSY, str(threads)], env=environment)


def train(config: str, minutes: float, overrides: list[str], run: Path, busy: bool) -> float:
    """Train with a budget; returns the seconds from the start of the process to its exit."""
    options = [word for override in overrides for word in ("--set", override)]
    command = [sys.executable, "-m", "llm_timecycle", "train", config, "--run", str(run)]
    log, competitor = run.with_suffix(".log"), None
    with log.open("wb") as file:
        began_s = time.perf_counter()
        process = subprocess.Popen([*command, "--minutes", str(minutes), *options], stderr=file)
        try:
            if busy:
                try:
                    process.wait(30 * minutes)
                except subprocess.TimeoutExpired:
                    competitor = start_busy_process()
            process.wait()
        finally:
            if competitor is not None:
                competitor.kill()
        wall_s = time.perf_counter() - began_s
    if process.returncode:
        sys.exit(f"training failed:\n{log.read_text()[-2000:]}")
    return wall_s


def describe(run: Path, minutes: float, wall_s: float) -> dict[str, Any]:
    """The figures of a finished run."""
    manifest = json.loads((run / "manifest.json").read_text())
    newest = max((run / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    progress = json.loads((newest / "state.json").read_text())["progress"]
    return {
        "minutes": minutes,
        "wall_s": round(wall_s, 2),
        "deviation_percent": round(100 * (wall_s / (60 * minutes) - 1), 2),
        "steps": progress["step"],
        "planned_steps": [plan["steps"] for plan in manifest["plans"]],
        "planned_at_s": [round(plan["used_s"], 1) for plan in manifest["plans"]],
        "best_valid_loss_nats": progress["best_loss"],
        "last_checkpoint_and_exit_s": round(wall_s - progress["active_s"], 2),
    }


def main() -> None:
    """Run all, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("config", nargs="?", default="char")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--run", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.run or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        rows = []
        for number in range(arguments.runs):
            for minutes in arguments.minutes:
                run = place / f"{minutes:g}-{number + 1}"
                wall_s = train(arguments.config, minutes, arguments.overrides, run, arguments.busy)
                rows.append(describe(run, minutes, wall_s))
                if not arguments.json:
                    print("  ".join(f"{key} {value}" for key, value in rows[-1].items()))
        if arguments.json:
            print(json.dumps(rows, indent=2))
        else:
            worst = max(abs(row["deviation_percent"]) for row in rows)
            print(f"largest deviation: {worst:.2f} % of the budget, {len(rows)} runs")


if __name__ == "__main__":
    main()
