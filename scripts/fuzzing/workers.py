"""Cases tried in processes, each of which tries many. One that dies, hangs or grows is replaced."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any

from fuzzing.kinds import Kind, MakeAttempt
from fuzzing.laws import Outcome, try_attempt
from fuzzing.machine import OutsideError, limit_memory, read_resident_bytes, watch_writes

GROWN_SHARE = 0.6
"""Of the memory that a case may take: a process that keeps as much is replaced."""
START_S = 300.0
"""Seconds that a process may take until it is ready."""
ENDS_WITHIN_S = 5.0
DUMPED_LINES = 40


@dataclass(frozen=True)
class Plan:
    """What the processes do.

    Attributes:
        kind: of the cases.
        seed: of all of them; with its number, it makes a case.
        place: a directory for everything that they write.
        limit_s: seconds that a case may take.
        keeps: whether the directory of the last case stays as it is.
    """

    kind: Kind
    seed: int
    place: Path
    limit_s: float
    keeps: bool = False


class Bench:
    """The place of one process: where its cases are made and tried."""

    def __init__(self, plan: Plan, place: Path) -> None:
        self._plan, self._place = plan, place
        shutil.rmtree(place, ignore_errors=True)
        self._case, self._world = place / "case", place / "world"
        self._cache, self._temporary = place / "cache", place / "temporary"
        for directory in (self._case, self._world, self._cache, self._temporary):
            directory.mkdir(parents=True)
        self._make: MakeAttempt | None = None
        self.what = find_what(place)

    def set_up(self) -> None:
        """Let the process be one that tries cases, and prepare what they have in common."""
        os.environ["LLM_TIMECYCLE_CACHE"] = str(self._cache)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["HOME"] = str(self._temporary)
        tempfile.tempdir = str(self._temporary)
        log = logging.getLogger("llm_timecycle")
        log.addHandler(_Formatted())
        log.setLevel(logging.DEBUG)
        log.propagate = False
        os.chdir(self._temporary)
        self._make = self._plan.kind.prepare(self._world)

    def try_case(self, number: int) -> Outcome:
        """Make the case of this number, and try it."""
        assert self._make is not None
        os.chdir(self._place)
        clear(self._case)
        clear(self._temporary)
        os.chdir(self._case)
        draw = Random(f"{self._plan.seed}/{self._plan.kind.name}/{number}")
        try:
            with watch_writes((self._place,)):  # a link that is drawn may lead anywhere
                attempt = self._make(draw, self._case)
        except (Exception, OutsideError):  # noqa: BLE001  a fault of the fuzzer
            return Outcome("wrong", "the case cannot be made", traceback.format_exc())
        self.what.write_text(attempt.what, encoding="utf-8", errors="backslashreplace")
        writable = (self._cache, self._temporary)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for hidden in (ResourceWarning, DeprecationWarning, PendingDeprecationWarning):
                warnings.simplefilter("ignore", hidden)  # Python shows none of them to users
            return try_attempt(attempt, self._case, writable, self._plan.kind.memory_bytes)


class _Formatted(logging.Handler):
    """Formats what is logged, and drops it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise what is wrong with it where it was logged."""
        record.getMessage()


def find_what(place: Path) -> Path:
    """Where it is written what the case is that is tried."""
    return place / "what.txt"


def clear(directory: Path) -> None:
    """Delete all that is in a directory."""
    for each in directory.iterdir():
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o700)
            shutil.rmtree(each)
        else:
            each.unlink()


def run_cases(plan: Plan, numbers: Iterable[int], jobs: int) -> Iterator[tuple[int, Outcome]]:
    """Try cases in `jobs` processes; gives the outcome of each, in any order."""
    waiting = deque(numbers)
    processes = [_Process(plan, index) for index in range(min(jobs, len(waiting)))]
    try:
        while waiting or any(each.number is not None for each in processes):
            for each in processes:
                if each.is_ready and each.number is None and waiting:
                    each.begin(waiting.popleft())
            wait([each.connection for each in processes], timeout=0.5)
            for each in processes:
                yield from each.look()
    finally:
        for each in processes:
            each.end()


@dataclass
class _Process:
    """One process, seen from the one that started it."""

    plan: Plan
    index: int
    number: int | None = None
    is_ready: bool = False
    began_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._start()

    def begin(self, number: int) -> None:
        """Let the process try a case."""
        self.number, self.began_s = number, time.monotonic()
        self.connection.send(number)

    def look(self) -> Iterator[tuple[int, Outcome]]:
        """What has come of its case, if it is over; the process is replaced where it must be."""
        number = self.number
        try:
            if self.connection.poll():
                outcome, resident_bytes = self.connection.recv()
                if outcome is None:
                    self.is_ready = True
                    return
                assert number is not None
                yield number, outcome
                self.number = None
                if resident_bytes > GROWN_SHARE * self.plan.kind.memory_bytes:
                    self._replace()
                return
        except (EOFError, ConnectionError):
            self._process.join()
            if number is None:
                self._explain_start("did not start")
            yield number, self._blame(f"ended the process ({self._process.exitcode})")
            self._replace()
            return
        limit_s = START_S if number is None else self.plan.limit_s
        if not self.is_ready or number is not None:
            if time.monotonic() - self.began_s <= limit_s:
                return
            os.kill(self._process.pid, signal.SIGUSR1)  # it says where it is
            time.sleep(0.5)
            if number is None:
                self._explain_start("is not ready")
            yield number, self._blame(f"took more than {limit_s:g} s")
            self._replace()

    def end(self) -> None:
        """End the process: it ends by itself when the connection is closed, if it can."""
        self.connection.close()
        self._process.join(0.0 if self.number is not None else ENDS_WITHIN_S)
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._place = self.plan.place / f"{self.plan.kind.name}-{self.index}"
        self._dump = self._place.with_suffix(".dump")
        self._process = context.Process(
            target=_work, args=(self.plan, self._place, self._dump, other), daemon=True
        )
        self._process.start()
        other.close()
        self.is_ready, self.began_s = False, time.monotonic()

    def _replace(self) -> None:
        self.end()
        self.number = None
        self._start()

    def _blame(self, what: str) -> Outcome:
        wall_s = time.monotonic() - self.began_s
        file = find_what(self._place)  # missing where the case was still being made
        tried = file.read_text(encoding="utf-8") if file.exists() else "making the case"
        return Outcome("wrong", tried, f"{what}\n{self._read_dump()}", wall_s=wall_s)

    def _explain_start(self, what: str) -> None:
        raise RuntimeError(f"a process for {self.plan.kind.name} {what}:\n{self._read_dump()}")

    def _read_dump(self) -> str:
        """Where the main thread was."""
        text = self._dump.read_text(errors="replace") if self._dump.exists() else ""
        _, mark, rest = text.rpartition("Current thread")
        return "\n".join(f"{mark}{rest}".splitlines()[:DUMPED_LINES])


def _work(plan: Plan, place: Path, dump: Path, connection: Connection) -> None:
    """Try the cases whose numbers come through a connection, until it is closed."""
    sys.dont_write_bytecode = True
    os.setsid()  # without a terminal, which would be waited for
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it says when to end
    with dump.open("w") as file:
        faulthandler.enable(file)
        faulthandler.register(signal.SIGUSR1, file)
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115
        bench = Bench(plan, place)
        bench.set_up()
        limit_memory(3 * plan.kind.memory_bytes)
        _send(connection, None)
        while True:
            try:
                number = connection.recv()
            except EOFError:
                return
            _send(connection, bench.try_case(number))


def _send(connection: Connection, outcome: Any) -> None:
    connection.send((outcome, read_resident_bytes()))
