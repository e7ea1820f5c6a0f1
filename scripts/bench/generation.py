"""How fast generation is, beside the programs that a user would take instead.

    .venv/bin/python scripts/bench/generation.py [--rounds N] [--tokens N] [--prompt N]
                                                 [--program NAME]... [--quick] [--json]

All draw from the reference model (V 10000, E 256, two layers of H 512; weights drawn, not trained),
with temperature 0.8 and top-k 40. The programs take turns, several rounds, each time in a process
of its own. Given are medians over the rounds, with their range:

- first: seconds from the start of the process until the first token is printed; ours is
  `llm-timecycle generate` as users call it, the others load weights and draw
- peak: the memory of that process at most, as the system saw it, in MB
- 1, 8, 32, 128: tokens a second, warm, that many texts side by side (`--tokens` in all, or 20 each)
- prompt: tokens a second of a prompt of `--prompt` tokens

The floor is the time that reading all weights once takes, at the rate at which this machine reads
as many numbers, measured in the same rounds. PyTorch comes with the `bench` extra; where it is
missing, it is left out. `--quick` takes a tiny model and one short round: a test of this script.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from generation_programs import BATCHES, Sizes

PROGRAMS = ("ours numpy", "ours tensorflow", "torch", "keras")
COLUMNS = ("first", "peak", *map(str, BATCHES), "prompt")
TARGETS = (  # of the better of our engines: what, must, aim
    ("first token, s", 0.5, 0.3),
    ("first token, torch / ours", 2.5, 4.0),
    ("first token, keras / ours", 6.0, 10.0),
    ("batch 1, ours / torch", 1.8, 3.0),
    ("batch 32, ours / torch", 3.5, 5.0),
    ("batch 1, share of the floor", 0.6, 0.85),
    ("prompt, ours / torch", 1.0, 1.5),
    ("peak memory, MB", 200.0, 120.0),
)
LOWER_IS_BETTER = ("first token, s", "peak memory, MB")

Rounds = dict[str, list[float]]


def call(*arguments: object) -> Any:
    """Run one of the programs; what it prints, from JSON, where it prints anything."""
    program = Path(__file__).with_name("generation_programs.py")
    command = [sys.executable, str(program), *map(str, arguments)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(printed) if printed else None


def measure_first(name: str, place: Path, sizes: str) -> tuple[float, float]:
    """Seconds to the first byte that a fresh process prints, and its peak memory in MB."""
    if name.startswith("ours"):
        program = [sys.executable, "-m", "llm_timecycle", "generate", str(place / "run")]
        engine = name.removeprefix("ours ")
        command = [*program, "--length", "20", "--top-k", "40", "--engine", engine]
    else:
        script = Path(__file__).with_name("generation_programs.py")
        command = [sys.executable, str(script), "first", name, str(place), sizes]
    start_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    first = os.read(process.stdout.fileno(), 1)
    first_s = time.perf_counter() - start_s
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode or not first:
        raise SystemExit(f"{name} printed no token: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024
    return first_s, usage.ru_maxrss * unit / 1e6


def measure_round(
    name: str, place: Path, sizes: str, tokens: int, prompt: int, rounds: Rounds
) -> None:
    """Run a program once, cold and warm, and note its figures."""
    first_s, peak_mb = measure_first(name, place, sizes)
    figures = {
        "first": first_s,
        "peak": peak_mb,
        **call("rates", name, place, sizes, tokens, prompt),
    }
    for column, value in figures.items():
        rounds.setdefault(column, []).append(value)


def judge(medians: dict[str, dict[str, float]], floor_s: float) -> list[dict[str, Any]]:
    """The figures that were aimed at; those of programs that did not run are left out."""
    ours = [medians[name] for name in PROGRAMS[:2] if name in medians]
    torch, keras = medians.get("torch"), medians.get("keras")
    if not ours:
        return []

    def best(column: str) -> float:
        return max(figures[column] for figures in ours)

    first_s, peak_mb = (min(figures[column] for figures in ours) for column in ("first", "peak"))
    found = {
        "first token, s": first_s,
        "batch 1, share of the floor": best("1") * floor_s,
        "peak memory, MB": peak_mb,
    }
    if torch:
        found["first token, torch / ours"] = torch["first"] / first_s
        found["batch 1, ours / torch"] = best("1") / torch["1"]
        found["batch 32, ours / torch"] = best("32") / torch["32"]
        found["prompt, ours / torch"] = best("prompt") / torch["prompt"]
    if keras:
        found["first token, keras / ours"] = keras["first"] / first_s
    return [
        {"figure": figure, "must": must, "aim": aim, "measured": found[figure]}
        for figure, must, aim in TARGETS
        if figure in found
    ]


def print_report(report: dict[str, Any]) -> None:
    """The tables for people."""
    width = max(map(len, report["programs"]))
    print(" " * width + "".join(f"{column:>22}" for column in COLUMNS))
    for name, figures in report["programs"].items():
        cells = [show(figures.get(column)) for column in COLUMNS]
        print(f"{name:<{width}}" + "".join(f"{cell:>22}" for cell in cells))
    print(
        f"\nfloor: {report['weight_bytes'] / 1e6:.1f} MB at {report['read_gb_per_s']:.1f} GB/s, "
        f"{1000 * report['floor_s']:.2f} ms a token, {1 / report['floor_s']:,.0f} tokens/s\n"
    )
    for row in report["figures"]:
        sign = "at most " if row["figure"] in LOWER_IS_BETTER else "at least"
        print(
            f"{row['figure']:<30}{row['measured']:>8.2f}   "
            f"must be {sign} {row['must']:g}, aim {row['aim']:g}"
        )


def show(figure: dict[str, float] | None) -> str:
    """A median with its range."""
    if figure is None:
        return "-"
    digits = 2 if figure["median"] < 10 else 0
    shown = (f"{figure[key]:,.{digits}f}" for key in ("median", "least", "most"))
    return "{} ({}-{})".format(*shown)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--tokens", type=int, default=1000, metavar="N")
    parser.add_argument("--prompt", type=int, default=10000, metavar="N")
    parser.add_argument("--program", action="append", choices=PROGRAMS, dest="programs")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def main() -> None:
    """Run the benchmark."""
    arguments = parse_arguments()
    sizes = Sizes(V=64, E=4, H=8, L=2) if arguments.quick else Sizes()
    if arguments.quick:
        arguments.rounds, arguments.tokens, arguments.prompt = 1, 20, 100
    programs = [name for name in PROGRAMS if name in (arguments.programs or PROGRAMS)]
    if "torch" in programs and importlib.util.find_spec("torch") is None:
        print("torch: left out, it is not installed (pip install '.[bench]')", file=sys.stderr)
        programs.remove("torch")
    shape = ",".join(map(str, sizes))
    results: dict[str, Rounds] = {name: {} for name in programs}
    read_rates: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        call("write", place, shape)
        for name in {"torch", "keras"}.intersection(programs):
            call(f"write-{name}", place, shape)
        for number in range(arguments.rounds):
            for name in programs:
                print(f"round {number + 1}: {name} ...", file=sys.stderr)
                measure_round(name, place, shape, arguments.tokens, arguments.prompt, results[name])
            read_rates.append(call("read", place, shape))
    floor_s = sizes.count_weight_bytes() / median(read_rates)
    report = {
        "sizes": sizes._asdict(),
        "rounds": arguments.rounds,
        "weight_bytes": sizes.count_weight_bytes(),
        "read_gb_per_s": median(read_rates) / 1e9,
        "floor_s": floor_s,
        "programs": {
            name: {
                column: {"median": median(values), "least": min(values), "most": max(values)}
                for column, values in rounds.items()
            }
            for name, rounds in results.items()
        },
    }
    medians = {
        name: {column: median(values) for column, values in rounds.items()}
        for name, rounds in results.items()
    }
    report["figures"] = judge(medians, floor_s)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print_report(report)


if __name__ == "__main__":
    main()
