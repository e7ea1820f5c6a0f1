"""The watchdog of a worker: it ends a process that has stopped to make progress.

A worker whose partner was stopped, or whose network was cut, waits inside TensorFlow without end,
and no signal handler of Python runs there. So a thread beside it compares the time since the last
sign of progress with a limit, and ends the process: the stacks of all threads on standard error,
one message, and the exit code of `WorkersError`. Whoever started the workers can start them again.
While TensorFlow connects the workers, it lets no thread of Python run: `faulthandler` ends the
process then, with the stacks alone. Its timer also runs while the process is suspended, so it is
set for nothing else.

    with Watchdog(cluster) as watchdog:
        with watchdog.allow("connecting to the other workers", 120, blocks_python=True):
            ...
        for step in range(1, 1001):
            ...
            watchdog.beat(step)
"""

from __future__ import annotations

import faulthandler
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from llm_timecycle.distributed.cluster import Cluster
from llm_timecycle.distributed.facts import name_workers
from llm_timecycle.errors import WorkersError

TIMES_MEDIAN = 20
"""A step that takes longer than so many usual ones is stuck."""
TIMES_FIRST = 10
"""A step that compiles something, and the start, may take so many times the shortest limit."""
_STEPS_KEPT = 51
_GRACE_S = 10.0  # beyond the limit, for this thread to end the process with a better message
_STDERR = 2


class ProcessEnd:
    """How a watchdog ends its process."""

    def __call__(self, message: str) -> None:
        """End it now: the stacks of its threads and a message on standard error."""
        with suppress(OSError):
            faulthandler.dump_traceback(file=_STDERR, all_threads=True)
            os.write(_STDERR, f"Error: {message}\n".encode())
        os._exit(WorkersError.exit_code)

    def arm(self, after_s: float) -> None:
        """End it with its stacks after so many seconds, even if no thread of Python runs then."""
        with suppress(OSError):
            faulthandler.dump_traceback_later(after_s, exit=True, file=_STDERR)

    def disarm(self) -> None:
        """Do not end it."""
        faulthandler.cancel_dump_traceback_later()


class Watchdog:
    """Ends this worker where it makes no progress; a `with` statement starts and stops it.

    Time in which the process itself was stopped does not count: after Ctrl-Z and `fg`, or when the
    machine slept, it goes on. It counts only while the workers are connected.

    Args:
        cluster: whose worker this is, and the shortest limit of a step.
        now: seconds on a clock that never goes back.
        end: what ends the process.
        poll_s: how often the thread looks; None is a tenth of that limit, a second at most.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        now: Callable[[], float] = time.monotonic,
        end: ProcessEnd | None = None,
        poll_s: float | None = None,
    ) -> None:
        self._cluster, self._least_s, self._now = cluster, cluster.stall_s, now
        self._end = end or ProcessEnd()
        self._poll_s = min(1.0, cluster.stall_s / 10) if poll_s is None else poll_s
        self._lock = threading.Lock()
        self._spans: deque[float] = deque(maxlen=_STEPS_KEPT)
        self._awake_s = 0.0  # seconds that this thread has seen pass
        self._began_s = 0.0  # on that clock
        self._beat_s = now()
        self._step = 0
        self._task: tuple[str, float] | None = ("the start", TIMES_FIRST * cluster.stall_s)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_closed.set()
        self._thread.join()

    def beat(self, step: int, *, is_compiled: bool = True) -> None:
        """A step was done.

        Args:
            step: how many are done now.
            is_compiled: whether all that it ran was compiled before it; otherwise its time says
                nothing about others.
        """
        with self._lock:
            now_s = self._now()
            if self._task is None and is_compiled:
                self._spans.append(now_s - self._beat_s)
            self._task = None
            self._step, self._beat_s, self._began_s = step, now_s, self._awake_s

    @contextmanager
    def allow(self, task: str, limit_s: float, *, blocks_python: bool = False) -> Iterator[None]:
        """A limit for what is no usual step: a barrier, a validation, a checkpoint.

        Args:
            task: what it is, for the message.
            limit_s: how long it may take, in seconds; never less than the shortest limit of a step.
            blocks_python: whether no thread of Python runs during it, that of the watchdog too;
                time in which the process was suspended then counts.
        """
        with self._lock:
            limit_s = max(limit_s, self._least_s)
            before, self._task = self._task, (task, limit_s)
            self._began_s = self._awake_s
        if blocks_python:
            self._end.arm(limit_s + _GRACE_S)
        try:
            yield
        finally:
            if blocks_python:
                self._end.disarm()
            with self._lock:
                self._task = before
                self._beat_s, self._began_s = self._now(), self._awake_s

    def find_limit(self) -> tuple[str, float]:
        """What this worker does, and how many seconds it may take."""
        if self._task is not None:
            return self._task
        task = f"step {self._step + 1:,}"
        if not self._spans:
            return task, TIMES_FIRST * self._least_s
        return task, max(self._least_s, TIMES_MEDIAN * statistics.median(self._spans))

    def check(self, passed_s: float) -> None:
        """End the process if its limit has passed.

        Args:
            passed_s: seconds since the last check, as far as the process was awake.
        """
        with self._lock:
            self._awake_s += passed_s
            task, limit_s = self.find_limit()
            waited_s = self._awake_s - self._began_s
        if waited_s > limit_s:
            self._end(self._explain(task, limit_s))

    def _watch(self) -> None:
        seen_s = self._now()
        while not self._is_closed.wait(self._poll_s):
            now_s = self._now()
            # A thread that slept far longer than it wanted to was stopped with its process.
            self.check(min(now_s - seen_s, 5 * self._poll_s))
            seen_s = now_s

    def _explain(self, task: str, limit_s: float) -> str:
        cluster = self._cluster
        others = [index for index in range(cluster.size) if index != cluster.index]
        usual = ""
        if self._task is None and self._spans:
            usual = f" (usually {_write_s(statistics.median(self._spans))})"
        return (
            f"{name_workers([cluster.index])} has waited {_write_s(limit_s)} in {task}{usual}: "
            f"{name_workers(others, cluster.addresses)} {'is' if len(others) == 1 else 'are'} "
            f"stuck or cannot be reached, or this one is. Its stacks are above. Start all workers "
            f"again; they go on from the newest checkpoint"
        )


def _write_s(seconds: float) -> str:
    """Seconds with three digits.

    >>> _write_s(0.01234), _write_s(60.0)
    ('0.0123 s', '60 s')
    """
    return f"{seconds:.3g} s"
