"""The launcher: the workers of a job as processes of this machine, started again where one is lost.

All workers run, or none. Where one ends with an error or is killed, the others have a few seconds
to end by themselves, and are then killed; the job is started again, from its newest checkpoint, as
often as is allowed. What cannot end differently a second time (a wrong setting, a missing text, a
full disk) is not tried again.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import FrameType

from llm_timecycle.distributed.facts import name_workers
from llm_timecycle.distributed.relay import BarRelay, LineRelay
from llm_timecycle.distributed.worker_process import WorkerCommand, WorkerProcess
from llm_timecycle.errors import (
    ConfigError,
    DataError,
    Interrupted,
    RunError,
    TimecycleError,
    UsageError,
    WorkersError,
)

log = logging.getLogger("llm_timecycle")

STOPPED = {129, 130, 143}
"""Exit codes of a worker that was asked to stop and has saved everything."""
FINAL = STOPPED | {0} | {e.exit_code for e in (UsageError, ConfigError, DataError, RunError)}
"""Exit codes after which nothing is gained by starting again."""
_LOOK_S = 0.2


@dataclass(frozen=True)
class Patience:
    """How long the launcher waits, in seconds."""

    after_failure_s: float = 10.0
    """For the other workers to end, after one has failed."""
    after_success_s: float = 60.0
    """For the others, after the chief has done everything."""
    before_restart_s: float = 1.0


@dataclass(frozen=True)
class _End:
    """How a worker ended."""

    index: int
    exit_code: int
    message: str
    was_killed: bool
    """By the launcher, since it did not end by itself."""

    @property
    def has_failed(self) -> bool:
        return self.exit_code != 0 and self.exit_code not in STOPPED and not self.was_killed

    @property
    def said(self) -> str:
        """The text of its error."""
        return self.message.removeprefix("Error: ")

    def describe(self) -> str:
        """What it said with its number, or what ended it."""
        return f"worker {self.index}" + (
            f": {self.said}" if self.said else f" {_explain_code(self.exit_code)}"
        )


def run_job(
    make_commands: Callable[[int], Sequence[WorkerCommand]],
    restarts: int,
    *,
    has_terminal: bool = False,
    patience: Patience | None = None,
    write: Callable[[bytes], object] | None = None,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Run the workers of a job to its end. SIGINT, SIGTERM and SIGHUP go to all of them.

    Args:
        make_commands: the command of each worker, by index; given how often the job was restarted.
        restarts: how often it may be.
        has_terminal: whether the first worker may show a bar.
        patience: how long workers may go on after one has ended; None is as usual.
        write: takes what workers print; None writes to standard error.
        now: seconds on a clock that never goes back.

    Raises:
        WorkersError: the job has failed; its exit code is that of the worker which failed first,
            or its own where that was killed.
        Interrupted: the job was asked to stop, and has saved everything.
    """
    patience = patience or Patience()
    options = (has_terminal, patience, write or _write_to_stderr, now)
    with _catch_signals() as signals:
        for attempt in range(restarts + 1):
            job = _Job(make_commands(attempt), signals, *options)
            ends = job.run()
            (chief,) = (end for end in ends if end.index == 0)
            if chief.exit_code == 0:
                return
            if chief.exit_code in STOPPED or (job.is_stopping and chief.exit_code < 0):
                raise Interrupted(chief.message or "Stopped.", _find_signal(chief, signals))
            cause = next((end for end in ends if end.has_failed), chief)
            problem = _explain(cause, ends)
            if cause.exit_code in FINAL or attempt == restarts or job.is_stopping:
                raise _fail(problem, cause, attempt)
            log.warning(
                "%s. All %d workers start again from the newest checkpoint (restart %d of %d)",
                _leave_out_advice(problem),
                len(ends),
                attempt + 1,
                restarts,
            )
            if signals.wait(patience.before_restart_s):
                raise Interrupted("Stopped.", signals.numbers[0])


class _Signals:
    """The signals that asked this process to stop, in their order."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._has_come = threading.Event()

    def note(self, number: int, _frame: FrameType | None) -> None:
        """A signal has come."""
        self.numbers.append(number)
        self._has_come.set()

    def wait(self, seconds: float) -> bool:
        """Whether one comes within so many seconds, or has come."""
        return self._has_come.wait(seconds)


class _Job:
    """The workers, from their start to the end of the last."""

    def __init__(
        self,
        commands: Sequence[WorkerCommand],
        signals: _Signals,
        has_terminal: bool,
        patience: Patience,
        write: Callable[[bytes], object],
        now: Callable[[], float],
    ) -> None:
        self._commands, self._signals, self._patience, self._now = commands, signals, patience, now
        self._relays: list[LineRelay | BarRelay] = [
            BarRelay(write)
            if has_terminal and index == 0
            else LineRelay(f"[{index}] ", write, on_bar=has_terminal)
            for index in range(len(commands))
        ]
        self._has_terminal = has_terminal
        self._events: SimpleQueue[tuple[int, bytes | None]] = SimpleQueue()
        self._workers: list[WorkerProcess] = []
        self._running: set[int] = set()
        self._killed: set[int] = set()
        self._until_s = float("inf")
        self._forwarded = 0

    @property
    def is_stopping(self) -> bool:
        """Whether a signal asked the job to stop."""
        return self._forwarded > 0

    def run(self) -> list[_End]:
        """Start all, and return how they ended, in that order."""
        try:
            for index, command in enumerate(self._commands):
                self._workers.append(self._start(index, command))
                self._running.add(index)
            while self._running:
                self._look()
        finally:
            for worker in self._workers:
                worker.kill()  # and what it may have left behind
        for relay in self._relays:
            relay.close()
        order = sorted(range(len(self._workers)), key=lambda index: self._workers[index].ended_s)
        return [self._describe(index) for index in order]

    def _start(self, index: int, command: WorkerCommand) -> WorkerProcess:
        try:
            return WorkerProcess(
                command,
                has_bar=self._has_terminal and index == 0,
                tell_output=lambda received: self._events.put((index, received)),
                tell_end=lambda: self._events.put((index, None)),
                now=self._now,
            )
        except OSError as error:
            raise WorkersError(f"worker {index} cannot be started: {error.strerror}") from error

    def _look(self) -> None:
        """Do what has become due."""
        try:
            index, received = self._events.get(timeout=_LOOK_S)
            if received is not None:
                self._relays[index].feed(received)
            else:
                self._note_end(index)
        except Empty:
            self._workers[0].fit_terminal()
        self._forward()
        if self._now() > self._until_s:
            self._killed |= self._running
            for index in self._running:
                self._workers[index].kill()
            self._until_s = float("inf")

    def _note_end(self, index: int) -> None:
        """A worker has ended: how long may the others go on?"""
        self._running.discard(index)
        code, patience = self._workers[index].exit_code, self._patience
        if code == 0 and index == 0:
            self._until_s = min(self._until_s, self._now() + patience.after_success_s)
        elif code != 0 and code not in STOPPED:
            self._until_s = min(self._until_s, self._now() + patience.after_failure_s)

    def _forward(self) -> None:
        """Send new signals to all workers."""
        for number in self._signals.numbers[self._forwarded :]:
            self._forwarded += 1
            for worker in self._workers:
                worker.send(number)
        if self._forwarded > 1:  # whoever asks twice does not want to wait
            self._until_s = min(self._until_s, self._now() + self._patience.after_failure_s)

    def _describe(self, index: int) -> _End:
        code = self._workers[index].exit_code
        assert code is not None
        return _End(index, code, self._relays[index].message, index in self._killed)


def _explain(cause: _End, ends: Sequence[_End]) -> str:
    """Why a job failed, and who had to be ended since it did not react any more."""
    is_of_all = cause.said and sum(end.said == cause.said for end in ends) > 1
    names_worker = re.match(r"workers? \d", cause.said) is not None
    problem = cause.said if is_of_all or names_worker else cause.describe()
    stuck = sorted(end.index for end in ends if end.was_killed)
    if not stuck or cause.exit_code != WorkersError.exit_code:
        return problem
    return f"{name_workers(stuck)} did not react any more; {problem}"


def _leave_out_advice(problem: str) -> str:
    """The first sentence: what to do next is done already.

    >>> _leave_out_advice("the connection to worker 1 (10.0.0.2:4000) was lost. Start it again")
    'the connection to worker 1 (10.0.0.2:4000) was lost'
    """
    return problem.split("\n")[0].partition(". ")[0].rstrip(".")


def _fail(problem: str, cause: _End, attempt: int) -> TimecycleError:
    again = f" (after {attempt} restart{'s' if attempt > 1 else ''})" if attempt else ""
    error = WorkersError(f"{problem}{again}")
    if cause.exit_code > 0:
        error.exit_code = cause.exit_code
    return error


def _find_signal(chief: _End, signals: _Signals) -> int:
    """The signal that stopped a job."""
    return chief.exit_code - 128 if chief.exit_code in STOPPED else signals.numbers[0]


def _explain_code(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and without a message"
    names = {known.value: f" ({known.name})" for known in signal.Signals}
    reason = (
        "; the system does this where memory runs out" if names.get(-code) == " (SIGKILL)" else ""
    )
    return f"was ended by signal {-code}{names.get(-code, '')}{reason}"


def _write_to_stderr(shown: bytes) -> None:
    sys.stderr.flush()
    view = memoryview(shown)
    while view:
        try:
            view = view[os.write(2, view) :]
        except OSError:  # nobody reads it any more
            return


@contextmanager
def _catch_signals() -> Iterator[_Signals]:
    """Note signals that ask this process to stop, where Python lets this thread do so."""
    signals = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:
        numbers.append(hang_up)
    before = {number: signal.signal(number, signals.note) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
