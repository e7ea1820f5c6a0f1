"""Try cases that nobody thought of: files, texts, options and arguments, changed at random.

    .venv/bin/python scripts/fuzz.py [--only KIND] [--cases N] [--seed S] [--jobs N]
    .venv/bin/python scripts/fuzz.py --only KIND --case NUMBER [--seed S]

By default, 10,000 cases of every kind. Whatever the case, it must be accepted, and right, or
refused with a message and exit code 2, 3, 4 or 5: no traceback, no internal error, no hang, not
more memory than 1 GB (1.6 GB with TensorFlow), no file outside its directory written to, nothing
changed by a refusal; and what was changed after it was written must not be taken for what it was.

The same seed and number make the same case; `--case` tries one again and shows it. Ends with status
1 if a case is wrong.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.kinds import KINDS, Kind
from fuzzing.laws import Outcome
from fuzzing.workers import Plan, run_cases

SHOWN_LINES = 30
SHOWN_IN_FULL = 20
REFUSALS = (2, 3, 4, 5)
IN_MEMORY = Path("/dev/shm")


@dataclass
class Tally:
    """What came of the cases of a kind."""

    kind: Kind
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[int] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = 0
    peak_bytes: int = 0
    wall_s: float = 0.0
    is_stopped: bool = False

    def add(self, number: int, outcome: Outcome) -> None:
        """Count one more."""
        is_refused = outcome.result == "refused"
        self.counts[str(outcome.exit_code) if is_refused else outcome.result] += 1
        if outcome.result == "wrong":
            self.wrong.append(number)
        if outcome.wall_s > self.slowest_s:
            self.slowest_s, self.slowest = outcome.wall_s, number
        self.peak_bytes = max(self.peak_bytes, outcome.peak_bytes)


def show(kind: str, number: int, seed: int, outcome: Outcome) -> None:
    """Say what was wrong with a case, and how it is tried again."""
    lines = outcome.said.splitlines()
    cut = [f"... and {len(lines) - SHOWN_LINES} more lines"] if len(lines) > SHOWN_LINES else []
    print(f"\nWRONG: {kind}, case {number}: {outcome.what}")
    print("\n".join(f"  {line}" for line in [*lines[:5], *cut, *lines[5:][-SHOWN_LINES + 5 :]]))
    print(f"  again: scripts/fuzz.py --only {kind} --case {number} --seed {seed}", flush=True)


def try_kind(kind: Kind, cases: int, arguments: argparse.Namespace, place: Path) -> Tally:
    """Try the cases of a kind, and say which are wrong."""
    tally, began_s = Tally(kind), time.monotonic()
    plan = Plan(kind, arguments.seed, place, arguments.seconds)
    first = arguments.first
    try:
        for number, outcome in run_cases(plan, range(first, first + cases), arguments.jobs):
            tally.add(number, outcome)
            if outcome.result == "wrong" and len(tally.wrong) <= SHOWN_IN_FULL:
                show(kind.name, number, arguments.seed, outcome)
    except KeyboardInterrupt:
        tally.is_stopped = True
    tally.wall_s = time.monotonic() - began_s
    shutil.rmtree(place, ignore_errors=True)
    return tally


def try_again(kind: Kind, number: int, seed: int, seconds: float) -> int:
    """Try one case and show it; its directory stays."""
    place = Path(tempfile.mkdtemp(prefix="fuzz-", dir=choose_directory()))
    ((_, outcome),) = run_cases(Plan(kind, seed, place, seconds), [number], jobs=1)
    print(outcome.what)
    print(f"{outcome.result} (exit code {outcome.exit_code})\n{outcome.said}")
    print(f"{outcome.wall_s:.3f} s, {outcome.peak_bytes >> 20:,} MB; its files: {place}")
    return int(outcome.result == "wrong")


def choose_directory() -> Path | None:
    """Where the files of the cases are: in memory, where the system has such a place."""
    return IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None


def print_table(tallies: list[Tally]) -> None:
    """One line for each kind."""
    codes = "".join(f"{f'code {code}':>9}" for code in REFUSALS)
    print(f"\n{'kind':<11}{'cases':>8}{'accepted':>10}{codes}{'wrong':>7}", end="")
    print(f"{'slowest':>12}{'its case':>10}{'peak MB':>9}{'minutes':>9}")
    for tally in tallies:
        counts = tally.counts
        refused = "".join(f"{counts[str(code)]:>9,}" for code in REFUSALS)
        print(
            f"{tally.kind.name:<11}{counts.total():>8,}{counts['accepted']:>10,}{refused}", end=""
        )
        print(f"{counts['wrong']:>7,}{tally.slowest_s:>10.2f} s{tally.slowest:>10}", end="")
        print(f"{tally.peak_bytes / 1e6:>9.0f}{tally.wall_s / 60:>9.1f}")


def main() -> int:
    """Try what is asked for; 0 where nothing is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        epilog="kinds: " + "; ".join(f"{kind.name} ({kind.summary})" for kind in KINDS.values()),
    )
    parser.add_argument("--only", choices=[*KINDS], action="append", help="this kind; repeatable")
    parser.add_argument("--cases", type=int, default=10_000, help="of each kind; default 10,000")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--case", type=int, help="try this one again and show it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--seconds", type=float, default=60.0, help="that a case may take")
    asked = parser.parse_args()
    chosen = [KINDS[name] for name in asked.only or KINDS]
    if asked.case is not None:
        if len(chosen) != 1:
            parser.error("--case needs one --only KIND")
        return try_again(chosen[0], asked.case, asked.seed, asked.seconds)
    tallies = []
    for kind in chosen:
        where = choose_directory()
        with tempfile.TemporaryDirectory("", "fuzz-", where, ignore_cleanup_errors=True) as place:
            cases = max(1, round(asked.cases * kind.share))
            tallies.append(try_kind(kind, cases, asked, Path(place)))
        if tallies[-1].is_stopped:
            print("stopped: these are the cases so far")
            break
        print_table(tallies[-1:])
    print_table(tallies)
    for tally in tallies:
        if rest := tally.wrong[SHOWN_IN_FULL:]:
            print(f"{tally.kind.name}, wrong too: {', '.join(map(str, rest))}")
    return int(any(tally.wrong for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
