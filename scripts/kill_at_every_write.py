"""Take a training through every one of its writes: killed there, cut off from power, refused.

    .venv/bin/python scripts/kill_at_every_write.py [--jobs N] [--every N] [--strace]

Three short trainings: a new run (with the cache of its text), the same run made longer with
`train --resume --set`, and a run that begins with its weights. At every operation on a file
(create, write, fsync, rename, unlink, ...) it is noted what a kill and what a power cut would
leave, and tried what follows where the disk refuses it. Every state that is left is then resumed.
It must end as the training that was left alone, bit for bit (best weights, checkpoint, metrics.csv
apart from its clocks, samples.txt), from no earlier than its last finished checkpoint; where the
program says what to do first, that is done. A fault must end in a clear message with its exit code.

A power cut loses what was not flushed: what was written to a file since its last fsync, and the
changes of names in a directory since the fsync of that. Of these, none, each alone, or all survive.
The order of the fsyncs is checked as well: a file before its name, its directory before the next.

`--strace` compares the operations that are seen with those that the system saw.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import unified_diff
from pathlib import Path

from boundaries.disk import State, write_state
from boundaries.ends import find_fault_of_message
from boundaries.operations import Operation, Perform, watch
from boundaries.recording import (
    Recording,
    import_program,
    record,
    run_command,
    strike_alone,
    strike_those_that_went_on,
)
from boundaries.recoveries import Ways, recover
from boundaries.strikes import FAULTS, KILLED, SHORT, Store, Strike, mask
from boundaries.syscalls import list_calls, list_seen, trace

TEXT = Path(__file__).parent.parent / "data" / "english.txt"
SETTINGS = """\
data: {train: text.txt, valid_fraction: 0.1, test_fraction: 0}
training:
  {batch_size: 4, sequence_length: 8, max_steps: 4, eval_every: 2, checkpoint_every: 2,
   keep_checkpoints: 1, log_every: 1, schedule: constant, warmup_steps: 1, learning_rate: 0.4,
   averaging: triggered, averaging_patience: 1, patience: null, precision: float32, threads: 1}
"""
MODEL = {
    "tokenizer.level": "char",
    "model.embedding_dim": "4",
    "model.hidden_units": "8",
    "model.num_layers": "1",
    "model.dropout": "0.2",
    "model.weight_drop": "0.2",
}
KINDS = ("killed", KILLED.name, "power cut", *(fault.name for fault in FAULTS), SHORT.name)
COLUMNS = ("operations", "tried", "clear message", "unclear", "states", "same end", "lost")


NEW = Ways(
    Path("runs/my"),
    new=[
        *("train", "tiny.yaml", "--run", "runs/my"),
        *(word for pair in MODEL.items() for word in ("--set", "=".join(pair))),
    ],
    resume=["train", "runs/my", "--resume"],
)
LONGER = replace(NEW, resume=[*NEW.resume, "--set", "training.max_steps=10"])
FROM = Ways(
    Path("runs/other"),
    new=["train", "tiny.yaml", "--run", "runs/other", "--from", "runs/my"],
    resume=["train", "runs/other", "--resume"],
)


def main() -> int:
    """Strike, recover, print the table; 0 where nothing is lost and every message is clear."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--jobs", type=int, default=2, help="trainings at the same time")
    parser.add_argument("--every", type=int, default=1, help="strike at each N-th operation only")
    parser.add_argument("--kills", type=int, default=5, help="trainings that are really killed")
    parser.add_argument("--seed", type=int, default=1, help="draws where they are killed")
    parser.add_argument("--strace", action="store_true", help="only compare with strace's record")
    parser.add_argument("--list", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    import_program()
    if arguments.list is not None:
        return list_operations(arguments.list)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        if arguments.strace:
            return compare_with_strace(place)
        new = Recording(NEW.new, NEW.run, read_start(), Store(place / "new"))
        wrong = examine("A new run", new, NEW, place / "a", arguments)
        longer = Recording(LONGER.resume, NEW.run, new.end, Store(place / "longer"))
        wrong += examine("The same run, made longer", longer, LONGER, place / "b", arguments)
        if not has_averages(longer.end):
            print("\nNo checkpoint has averaged weights: another learning rate is needed")
            wrong += 1
        other = Recording(FROM.new, FROM.run, new.end, Store(place / "other"))
        wrong += examine("A run with the weights of it", other, FROM, place / "c", arguments)
    return 1 if wrong else 0


def read_start() -> State:
    """What the trainings begin with: a short text, and settings."""
    return {"text.txt": TEXT.read_bytes()[:8000], "tiny.yaml": SETTINGS.encode()}


def has_averages(end: State) -> bool:
    """Whether the weights were averaged in the end, so that a checkpoint has all that one can."""
    states = [json.loads(end[name] or b"") for name in end if name.endswith("/state.json")]
    return any(state["progress"]["averaged_steps"] > 0 for state in states)


def examine(
    title: str,
    recording: Recording,
    ways: Ways,
    place: Path,
    arguments: argparse.Namespace,
) -> int:
    """Strike at a command, recover, print what came of it; returns how much was wrong."""
    began_s = time.perf_counter()
    place.mkdir()
    record(recording, place / "place", lambda number: FAULTS, arguments.every)
    strikes = strike_those_that_went_on(recording, place / "place")
    strikes.append(strike_alone(recording, SHORT, 0, place / "place"))
    draw = random.Random(arguments.seed)
    for _ in range(arguments.kills):
        number = draw.randrange(len(recording.operations) - 1)
        strikes.append(strike_alone(recording, KILLED, number, place / "place"))
    recoveries = list(recover(recording, strikes, ways, place, arguments.jobs))
    unclear = [(s, find_unclear(s)) for s in strikes if find_unclear(s)]
    losses = [(s, each.find_loss(s)) for each in recoveries for s in each.strikes]
    lost = [(strike, why) for strike, why in losses if why]
    print(f"\n{title}: {len(recording.operations) - 1} operations, ", end="")
    print(f"{len(strikes)} strikes, {len(recoveries)} states resumed, ", end="")
    print(f"{time.perf_counter() - began_s:.0f} s\n")
    advised = [strike for each in recoveries if each.is_advised for strike in each.strikes]
    print_table(strikes, advised, [strike for strike, _ in lost])
    leftovers = Counter(name for each in recoveries for name in each.leftovers)
    rules = Counter(mask(rule) for rule in recording.broken_rules)
    unflushed = [path for path in recording.unflushed if path.startswith(str(ways.run))]
    print_findings("Unclear messages", group(unclear))
    print_findings("Lost", group(lost))
    print_findings("Left over after a recovery", (f"{n} x {name}" for name, n in leftovers.items()))
    print_findings("Names given before a flush", (f"{n} x {rule}" for rule, n in rules.items()))
    print_findings("What a power cut after the end would change", unflushed)
    return len(unclear) + len(lost) + len(rules) + len(unflushed)


def find_unclear(strike: Strike) -> str:
    """What is wrong with how a struck command ended; "" for nothing, or where it was killed."""
    if strike.exit_code in (0, -signal.SIGKILL):
        return ""
    if wrong := find_fault_of_message(strike.exit_code, strike.output):
        return f"{wrong}: {strike.output.strip().splitlines()[-2:]}"
    return ""


def print_table(
    strikes: Sequence[Strike], advised: Sequence[Strike], lost: Sequence[Strike]
) -> None:
    """A row for each kind of strike, counted in strikes.

    Args:
        advised: those after which the next command said what to do first. lost: as it says.
    """
    print("  ".join(["kind".ljust(20), *COLUMNS]))
    for kind in KINDS:
        of_kind = [strike for strike in strikes if strike.kind == kind]
        failed = [strike for strike in of_kind if strike.exit_code not in (0, -signal.SIGKILL)]
        unclear = sum(find_unclear(strike) != "" for strike in failed)
        said_later = [strike for strike in advised if strike in of_kind and strike not in failed]
        lost_count = sum(strike.kind == kind for strike in lost)
        counts = {
            "operations": len({strike.number for strike in of_kind}),
            "tried": len(of_kind),
            "clear message": len(failed) - unclear + len(said_later),
            "unclear": unclear,
            "states": len({strike.state for strike in of_kind}),
            "same end": len(of_kind) - lost_count,
            "lost": lost_count,
        }
        cells = [f"{counts[column]:>{len(column)},}" for column in COLUMNS]
        print("  ".join([kind.ljust(20), *cells]))


def print_findings(title: str, lines: Iterable[str]) -> None:
    """A title and lines under it; nothing where there are none."""
    for number, line in enumerate(lines):
        print(f"\n{title}:\n  {line}" if number == 0 else f"  {line}")


def group(findings: Sequence[tuple[Strike, str]]) -> Iterator[str]:
    """What was found, each once: how often, and where it was found first."""
    found: dict[str, list[Strike]] = defaultdict(list)
    for strike, why in findings:
        found[mask(re.sub(r"\S*/(?=runs/)", "", why))].append(strike)
    for why, strikes in found.items():
        first = strikes[0]
        where = f"{first.kind}, operation {first.number}, {first.operation}"
        yield f"{len(strikes)} x {why} (first: {where})"


def list_operations(place: Path) -> int:
    """Train a new run in a directory, then longer, and write what was seen beside it."""
    seen: list[str] = []

    def around(operation: Operation, perform: Perform) -> object:
        seen.append(mask(str(operation)))
        return perform()

    with watch(place, around):
        code = run_command(NEW.new, place) or run_command(LONGER.resume, place)
    place.with_suffix(".seen").write_text("\n".join(seen))
    return code


def compare_with_strace(place: Path) -> int:
    """Whether the system saw the same operations, in the same order."""
    log, run = place / "strace", place / "run"
    write_state(read_start(), run)
    trace([sys.executable, __file__, "--list", str(run)], log)
    seen = list(list_seen(run.with_suffix(".seen").read_text().splitlines()))
    calls = list(list_calls(log.read_text().splitlines(), run))
    print(f"{len(seen)} operations seen, {len(calls)} by the system")
    differences = list(unified_diff(seen, calls, "seen", "by the system", lineterm=""))
    print("\n".join(differences) or "all the same, in the same order")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
