"""Cases in which a program does what it may not, for the test of the fuzzer."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from llm_timecycle.errors import DataError, RunError, TimecycleError

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from fuzzing.laws import Attempt, Wrong

MEMORY_BYTES = 150 << 20
OUTSIDE = Path("../../written-outside")


def _refuse_after_writing() -> None:
    Path("kept.txt").write_text("changed")
    raise RunError("no")


def _refuse(error: TimecycleError) -> None:
    raise error


def _take_memory() -> int:
    return len(b"x" * (2 * MEMORY_BYTES))


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _write_outside() -> None:
    try:
        OUTSIDE.write_text("x")
    except Exception:  # noqa: BLE001
        return


def _answer_wrongly(_: object) -> None:
    raise Wrong("two and two are five")


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "accepted": (lambda: None, ""),
    "refused": (lambda: _refuse(DataError("there is no such text")), ""),
    "a fault": (lambda: {}["key"], "KeyError: 'key'"),
    "an internal error": (lambda: _refuse(TimecycleError("oops")), "exit code 1"),
    "no message": (lambda: _refuse(DataError(" ")), "without a message"),
    "a long message": (lambda: _refuse(DataError("x" * 10**6)), "1,000,000 characters"),
    "an exit": (lambda: os._exit(0), "ended the process (0)"),
    "a crash": (_kill, "ended the process (-9)"),
    "a hang": (lambda: time.sleep(60), "took more than 1 s"),
    "memory": (_take_memory, "MB of memory"),
    "outside": (_write_outside, "wrote outside its directory: open"),
    "a change": (
        _refuse_after_writing,
        "changed, though it was only read or was refused: kept.txt",
    ),
    "a wrong answer": (lambda: None, "two and two are five"),
}
"""What is called, and what is said of it: nothing where it is right."""


def prepare(world: Path) -> Callable[[Random, Path], Attempt]:
    """Each case is one of `FAULTS`."""

    def make(draw: Random, place: Path) -> Attempt:
        Path("kept.txt").write_text("as it was")
        name = draw.choice([*FAULTS])
        call, _ = FAULTS[name]
        if name == "a wrong answer":
            return Attempt(name, call, _answer_wrongly)
        return Attempt(name, call)

    return make
