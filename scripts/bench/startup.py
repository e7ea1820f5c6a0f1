"""How long a command takes to start, in this checkout and in others.

    .venv/bin/python scripts/bench/startup.py [CHECKOUT]... [--rounds N] [--json]

Two commands run in a process each: `train section5 --set training.max_steps=1`, from its start to
its end (one step, the validation, the weights and a checkpoint), and `generate` of one token from
the run that it wrote. The checkouts take turns, several rounds; this one comes last. Given are the
medians of the seconds on the clock and of the processor's seconds, which a busy machine changes
less, and each over those of the first checkout. All use this Python and its packages; the first
call of each checkout, which may have to fill the caches of texts, is not counted.
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
from statistics import median
from typing import Any

from training import print_table

HERE = Path(__file__).parents[2]
COMMANDS = {
    "train": ("train", "section5", "--set", "training.max_steps=1", "--run"),
    "generate": ("generate", "--length", "1", "--prompt", "The"),
}


def measure(checkout: Path, run: Path, command: str) -> tuple[float, float]:
    """Seconds on the clock and of the processor that one command takes."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    program = [sys.executable, "-m", "llm_timecycle", *COMMANDS[command], str(run)]
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(
        program, env=environment, cwd=run.parent, capture_output=True, text=True, check=False
    )
    wall_s, after = time.perf_counter() - began, os.times()
    if done.returncode:
        sys.exit(f"{checkout}: {command} failed:\n{done.stderr[-2000:]}")
    children_s = after.children_user + after.children_system
    return wall_s, children_s - before.children_user - before.children_system


def measure_round(checkout: Path) -> dict[str, float]:
    """The figures of one round of a checkout."""
    with tempfile.TemporaryDirectory() as directory:
        figures = {}
        for command in COMMANDS:
            wall_s, cpu_s = measure(checkout, Path(directory, "run"), command)
            figures |= {f"{command}_s": wall_s, f"{command}_cpu_s": cpu_s}
        return figures


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    checkouts = [*options.checkouts, HERE]
    rounds: dict[Path, list[dict[str, float]]] = {checkout: [] for checkout in checkouts}
    for number in range(options.rounds + 1):
        for checkout, figures in rounds.items():
            print(f"round {number} of {options.rounds}: {checkout} ...", file=sys.stderr)
            figures.append(measure_round(checkout))
    rows: list[dict[str, Any]] = []
    for checkout, figures in rounds.items():
        medians = {name: median(row[name] for row in figures[1:]) for name in figures[0]}
        first = rows[0] if rows else medians
        ratios = {
            name.replace("_s", "_over_first"): value / first[name]
            for name, value in medians.items()
        }
        rows.append({"checkout": str(checkout), **medians, **ratios})
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print_table(
        [
            {
                name: value if isinstance(value, str) else f"{value:.2f}"
                for name, value in row.items()
            }
            for row in rows
        ]
    )


if __name__ == "__main__":
    main()
