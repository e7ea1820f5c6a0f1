"""Trainings on several machines that meet with faults: each must end in a message, and go on right.

    sudo .venv/bin/python scripts/faults.py [--count 50] [--seed 1] [--only NAME] [--keep DIR]

The machines are network namespaces with addresses, so it needs root, `ip` and `tc` (iproute2). The
workers are started and watched by the program's own launcher; here it forks them, so that
TensorFlow is imported once. For 2 and 4 workers, a small training runs undisturbed first. Then it
runs again and again, each time with one fault at a random moment of it. A fault is right if

- a message says what is wrong within 120 seconds, or the job goes on where it can;
- the job then ends from its newest checkpoint with the loss of the undisturbed one;
- no process is left.

Delays of the network are not tried (netem is in few kernels), nor a machine that loses its power.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from boundaries.recording import import_program
from cluster_faults.clock import MovableClock, follow_clock
from cluster_faults.jobs import Job, Outcome
from cluster_faults.network import Network, open_network, open_small_disk
from cluster_faults.strikes import FAULTS, Fault, Scene

WORKERS = (2, 2, 2, 4)
"""How many workers a case has: three of four have two."""
BOUND_S = 120.0
DISK = "4m"
TRIES = 5
LOSS_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """A fault, and what came of it."""

    fault: Fault
    workers: int
    moment_s: float
    message_s: float | None
    """From the fault to the message; None where there was none."""
    message: str
    wrong: str
    """"" where all is right."""
    is_same: bool
    """Whether the loss is that of the undisturbed job."""
    has_same_weights: bool
    """Whether the weights are, bit for bit."""


def main() -> int:
    """Run all cases, print the table; 0 where all is right."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=50, help="cases in all")
    parser.add_argument("--seed", type=int, default=1, help="draws moments and workers")
    parser.add_argument("--only", help="only faults whose name has this in it")
    parser.add_argument("--keep", type=Path, help="where the output of wrong cases is kept")
    arguments = parser.parse_args()
    import_program()
    faults = list(list_faults(arguments.count, arguments.only))
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        place = Path(name).resolve()
        clock = MovableClock.find()
        networks = {n: opened.enter_context(open_network(n)) for n in sorted(set(WORKERS))}
        run_undisturbed(networks[min(networks)], place / "first", min(networks))  # fills the cache
        usual = {n: run_undisturbed(networks[n], place / f"usual{n}", n) for n in networks}
        cases = []
        for number, fault in enumerate(faults):
            workers = WORKERS[number % len(WORKERS)]
            scene_place = place / f"case{number}"
            case = try_fault(
                fault, networks[workers], workers, scene_place, clock, draw, usual[workers]
            )
            cases.append(case)
            print_case(number, case)
            if case.wrong and arguments.keep:
                shutil.copytree(scene_place, arguments.keep / f"case{number}", dirs_exist_ok=True)
            shutil.rmtree(scene_place)
    print_table(cases)
    return 1 if any(case.wrong for case in cases) else 0


def list_faults(count: int, only: str | None) -> Iterator[Fault]:
    """The fault of each case: mixed, and each as often as its share says."""
    chosen = [fault for fault in FAULTS if only is None or only in fault.name]
    shares = sum(fault.share for fault in chosen)
    done = dict.fromkeys(chosen, 0)
    for number in range(1, count + 1):
        fault = max(chosen, key=lambda each: each.share * number / shares - done[each])
        done[fault] += 1
        yield fault


@dataclass(frozen=True)
class Usual:
    """The undisturbed job."""

    wall_s: float
    loss: float | None
    weights: str


def run_undisturbed(network: Network, place: Path, workers: int) -> Usual:
    """Train with so many workers."""
    job = Job(network, place, workers)
    job.prepare()
    outcome = job.train(restarts=0)
    if outcome.exit_code:
        log = (job.place / "log").read_text(errors="replace")
        raise SystemExit(f"{workers} workers: {outcome.messages}\n{log[-3000:]}")
    loss, weights = job.read_end()
    print(f"{workers} workers, undisturbed: {outcome.wall_s:.1f} s, loss {loss}", flush=True)
    return Usual(outcome.wall_s, loss, weights)


def try_fault(
    fault: Fault,
    network: Network,
    workers: int,
    place: Path,
    clock: MovableClock,
    draw: random.Random,
    usual: Usual,
) -> Case:
    """Let a fault strike once; what strikes after the end of the job is tried again earlier."""
    latest_s = 0.95 * usual.wall_s
    for _ in range(TRIES):
        moment_s = draw.uniform(0.2, latest_s)
        job = Job(network, place, workers)
        job.prepare()
        clock.move(0)
        network.repair()
        with ExitStack() as opened:
            if fault.exit_code:
                opened.enter_context(open_small_disk(str(job.run.parent), DISK))
            scene = Scene(job, clock, draw)
            struck_s, outcome = strike(fault, scene, moment_s)
            if struck_s is not None:
                return judge(fault, scene, moment_s, struck_s, outcome, usual)
        latest_s = moment_s
        shutil.rmtree(place)
    raise SystemExit(f"{fault.name}: the job was always over before")


def strike(fault: Fault, scene: Scene, moment_s: float) -> tuple[float | None, Outcome]:
    """Train, and let it strike; when it did (None where the job was over), and how the job went."""
    struck: list[float] = []

    def wait_and_strike() -> None:
        time.sleep(moment_s)
        before_s = time.monotonic()
        if not is_over.is_set() and fault.strike(scene):
            struck.append(before_s)

    is_over = threading.Event()
    striker = threading.Thread(target=wait_and_strike)
    striker.start()
    outcome = scene.job.train()
    is_over.set()
    striker.join()
    return (struck[0] if struck else None), outcome


def judge(
    fault: Fault, scene: Scene, moment_s: float, struck_s: float, outcome: Outcome, usual: Usual
) -> Case:
    """What came of it; first, what was full is emptied and the job goes on."""
    job, wrong = scene.job, []
    later = [(when_s - struck_s, text) for when_s, text in outcome.messages if when_s >= struck_s]
    message_s, message = later[0] if later else (None, "")
    if fault.has_message and message_s is None and outcome.exit_code == 0:
        wrong.append("no message")
    if message_s is not None and message_s > BOUND_S:
        wrong.append(f"the message came after {message_s:.0f} s")
    if outcome.exit_code != (fault.exit_code if message else 0):
        wrong.append(f"exit code {outcome.exit_code}: {outcome.messages}")
    if "internal error" in message or "Traceback" in message:
        wrong.append(f"unclear: {message}")
    if left := job.list_left():
        wrong.append(f"processes are left: {left}")
    if outcome.exit_code:
        scene.filler.unlink(missing_ok=True)
        again = job.train(restarts=0)
        if again.exit_code:
            wrong.append(f"does not go on: {again.messages}")
    loss, weights = (None, "") if wrong else job.read_end()
    is_same = (
        loss is not None
        and usual.loss is not None
        and math.isclose(loss, usual.loss, rel_tol=LOSS_TOLERANCE)
    )
    if not is_same and not wrong:
        wrong.append(f"the loss is {loss}, not {usual.loss}")
    return Case(
        fault,
        job.workers,
        moment_s,
        message_s,
        message,
        "; ".join(wrong),
        is_same,
        weights == usual.weights,
    )


def print_case(number: int, case: Case) -> None:
    """A line about a case."""
    said = "-" if case.message_s is None else f"{case.message_s:.1f} s: {case.message}"
    state = f"WRONG ({case.wrong})" if case.wrong else "right"
    print(
        f"{number:>2}  {case.fault.name}, {case.workers} workers, after {case.moment_s:.1f} s: "
        f"{state}; {said}",
        flush=True,
    )


def print_table(cases: Sequence[Case]) -> None:
    """A row for each kind of fault."""
    columns = ("fault", "count", "right", "seconds to the message", "same loss", "same weights")
    rows = []
    for fault in FAULTS:
        of_kind = [case for case in cases if case.fault == fault]
        if not of_kind:
            continue
        waits = [case.message_s for case in of_kind if case.message_s is not None]
        seconds = f"{min(waits):.1f} to {max(waits):.1f}" if waits else "none: it goes on"
        rows.append(
            (
                fault.name,
                f"{len(of_kind)}",
                f"{sum(not case.wrong for case in of_kind)}",
                seconds,
                f"{sum(case.is_same for case in of_kind)}",
                f"{sum(case.has_same_weights for case in of_kind)}",
            )
        )
    print("\n| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    right = sum(not case.wrong for case in cases)
    print(f"\n{right} of {len(cases)} right")


if __name__ == "__main__":
    follow_clock()
    sys.exit(main())
