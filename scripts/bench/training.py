"""How fast training is, beside the programs that a user would take instead.

    .venv/bin/python scripts/bench/training.py [--rounds N] [--steps N] [--program NAME]...
                                               [--vary] [--json]

Every program trains the reference model (V 10000, E 256, two layers of H 512) with Adam on batches
of B 64 x T 50 tokens, in a process of its own; the programs take turns, several rounds. Given are
the median over all steps of all rounds with the range of the rounds' medians; the ratio to our best
precision; peak memory as the system saw it; what share of the matrix products' rate (the output
layer's product, measured in the same rounds) the step's products reach; and the seconds from the
start of the process until its first step is done. PyTorch comes with the `bench` extra.

`--vary` times our step and PyTorch's compiled one at half and twice the reference's B, T, H and V,
and gives the exponent k of  time a token ~ size^k.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from training_programs import PROGRAMS, Sizes, describe

COMPARED = [name for name in PROGRAMS if not name.startswith("products")]
OURS = ("ours float32", "ours bfloat16")
VARIED = ("ours bfloat16", "torch bfloat16 compiled")


@dataclass
class Result:
    """What the rounds of one program gave."""

    rounds: list[list[float]] = field(default_factory=list)  # seconds of every step
    start_s: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)

    @property
    def step_s(self) -> float:
        """The median step."""
        return median(second for seconds in self.rounds for second in seconds)


def is_available(name: str) -> bool:
    """Whether the packages of a program are here."""
    return not name.startswith("torch") or importlib.util.find_spec("torch") is not None


def run_program(name: str, sizes: Sizes, steps: int, result: Result) -> None:
    """Run a program once in a process of its own, and add what it reports."""
    program = Path(__file__).with_name("training_programs.py")
    began_at = time.time()
    done = subprocess.run(
        [sys.executable, str(program), name, *describe(sizes), str(steps)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    report = json.loads(done.stdout.splitlines()[-1])
    result.rounds.append(report["seconds"])
    result.start_s.append(report["first_step_at"] - began_at)
    result.peak_bytes.append(report["peak_bytes"])


def run_rounds(names: list[str], sizes: Sizes, rounds: int, steps: int) -> dict[str, Result]:
    """All programs in turn, so many rounds."""
    results = {name: Result() for name in names}
    for number in range(rounds):
        for name in names:
            print(f"round {number + 1} of {rounds}: {name} ...", file=sys.stderr)
            run_program(name, sizes, steps, results[name])
    return results


def make_row(name: str, results: dict[str, Result], sizes: Sizes) -> dict[str, Any]:
    """The figures of a program."""
    result = results[name]
    tokens = sizes.B * sizes.T
    rates = [tokens / median(seconds) for seconds in result.rounds]
    best = min(results[ours].step_s for ours in OURS if ours in results)
    is_half = "bfloat16" in name or (
        name == "llm-timecycle train"
        and results["ours bfloat16"].step_s < results["ours float32"].step_s
    )
    products = results["products bfloat16" if is_half else "products float32"]
    products_rate = 2 * tokens * sizes.H * sizes.V / products.step_s
    rate = tokens / result.step_s
    return {
        "program": name,
        "tokens_per_s": round(rate),
        "slowest_round": round(min(rates)),
        "fastest_round": round(max(rates)),
        "ours_over_it": round(result.step_s / best, 2),
        "peak_mb": round(max(result.peak_bytes) / 1e6),
        "share_of_products": round(rate * sizes.count_flops_per_token() / products_rate, 2),
        "first_step_s": None if "train" in name else round(median(result.start_s), 1),
    }


def vary_sizes(steps: int, rounds: int) -> list[dict[str, Any]]:
    """Seconds a token at half, once and twice each size, and how they grow."""
    rows = []
    names = [name for name in VARIED if is_available(name)]
    for axis in "BTHV":
        scaled = [
            replace(Sizes(), **{axis: int(getattr(Sizes(), axis) * scale)}) for scale in (0.5, 1, 2)
        ]
        results = [run_rounds(names, sizes, rounds, steps) for sizes in scaled]
        for name in names:
            per_token = [
                found[name].step_s / (sizes.B * sizes.T)
                for found, sizes in zip(results, scaled, strict=True)
            ]
            values = [getattr(sizes, axis) for sizes in scaled]
            exponent = np.polyfit(np.log(values), np.log(per_token), 1)[0]
            rates = {value: round(1 / s) for value, s in zip(values, per_token, strict=True)}
            rows.append(
                {
                    "program": name,
                    "axis": axis,
                    "tokens_per_s": rates,
                    "exponent": round(exponent, 2),
                }
            )
    return rows


def print_table(rows: list[dict[str, Any]]) -> None:
    """Rows as a Markdown table."""
    print("| " + " | ".join(rows[0]) + " |\n" + "| --- " * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join("" if v is None else f"{v}" for v in row.values()) + " |")


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="measured steps a round")
    parser.add_argument("--program", action="append", choices=COMPARED)
    parser.add_argument("--vary", action="store_true", help="vary B, T, H and V as well")
    parser.add_argument("--json", action="store_true")
    for letter, number in asdict(Sizes()).items():
        parser.add_argument(f"--{letter}", type=int, default=number)
    options = parser.parse_args()
    sizes = Sizes(**{letter: getattr(options, letter) for letter in asdict(Sizes())})
    wanted = options.program or COMPARED
    for name in wanted:
        if not is_available(name):
            print(f"{name}: left out, PyTorch is not installed (bench extra)", file=sys.stderr)
    always = [*OURS, "products float32", "products bfloat16"]
    names = [n for n in PROGRAMS if (n in wanted and is_available(n)) or n in always]
    results = run_rounds(names, sizes, options.rounds, options.steps)
    rows = [make_row(name, results, sizes) for name in names if name in COMPARED]
    varied = vary_sizes(options.steps, options.rounds) if options.vary else []
    if options.json:
        print(json.dumps({"sizes": asdict(sizes), "programs": rows, "varied": varied}, indent=2))
        return
    print_table(rows)
    if varied:
        print()
        print_table(varied)


if __name__ == "__main__":
    main()
