"""A `map` over worker processes that keeps the order of its items and reads little ahead.

Workers only make things faster. Where one cannot be started, dies or fails at an item, the item is
done in this process: the results never depend on workers, and an error is raised where it shows.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Generic, Self, TypeVar

from llm_timecycle.system import count_hardware_threads
from llm_timecycle.text.parallel.messages import receive, send

log = logging.getLogger("llm_timecycle")

WORKERS_AT_MOST = 8
"""Each holds a tokenizer and its table of words."""
CHARACTERS_FOR_WORKERS = 30_000_000
"""From this length on, workers save more time than their start takes."""
_AHEAD = 2
"""Items in work or waiting, for each worker: none waits while this process reads the next item."""

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from llm_timecycle.text.parallel.worker import main; main()"
)

_Input = TypeVar("_Input")
_Output = TypeVar("_Output")
_Process = subprocess.Popen[bytes]


def count_workers(characters: int) -> int:
    """How many workers a text is worth on this machine; 0 where they would not help, or not start.

    Args:
        characters: of the text.
    """
    if characters < CHARACTERS_FOR_WORKERS:
        return 0
    threads = count_hardware_threads()
    is_python = bool(sys.executable) and not getattr(sys, "frozen", False)
    return min(threads, WORKERS_AT_MOST) if is_python and threads > 1 else 0


def map_in_order(
    threads: ThreadPoolExecutor,
    ahead: int,
    function: Callable[[_Input], _Output],
    items: Iterable[_Input],
) -> Iterator[_Output]:
    """`map` in threads that reads at most `ahead` items further than it has given results."""
    running: deque[Future[_Output]] = deque()
    for item in items:
        running.append(threads.submit(function, item))
        if len(running) > ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


class WorkerPool(Generic[_Input, _Output]):
    """Worker processes that do one task; a `with` statement starts and ends them.

    Args:
        task: a name in `worker.TASKS`, and the arguments of the task: plain values.
        do_here: does an item in this process, with the same result as a worker; items and results
            are plain values, as `messages` sends them.
        workers: how many processes.
    """

    def __init__(
        self, task: tuple[object, ...], do_here: Callable[[_Input], _Output], workers: int
    ) -> None:
        self._task, self._do_here, self._workers = task, do_here, workers
        self._threads = ThreadPoolExecutor(workers)
        self._idle: SimpleQueue[_Process | None] = SimpleQueue()
        self._processes: list[_Process] = []
        self._is_closed = False

    def __enter__(self) -> Self:
        for _ in range(self._workers):
            self._idle.put(self._start())
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_closed = True
        for process in self._processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.wait()
            _close_pipes(process)

    def map(self, items: Iterable[_Input]) -> Iterator[_Output]:
        """The result of each item, in order."""
        return map_in_order(self._threads, _AHEAD * self._workers, self._do, items)

    def _do(self, item: _Input) -> _Output:
        """The result of an item, from a worker that has nothing else to do."""
        process = self._idle.get()
        answer: tuple[Any, ...] = ()
        try:
            if process is not None:
                answer = _ask(process, item)
        except (OSError, EOFError):
            if self._is_closed:
                raise
            assert process is not None
            log.warning(
                "a process that helped to read the text ended early (exit code %s); its share is "
                "done without it",
                process.wait(),
            )
            process = None
        finally:
            self._idle.put(process)
        if not answer:
            return self._do_here(item)
        result: _Output = answer[0]
        return result

    def _start(self) -> _Process | None:
        """A new worker that has been told its task; None if the system cannot start one."""
        paths = [path for path in sys.path if isinstance(path, str)]
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, json.dumps(paths)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Each worker is one of many; the library's threads would only get in their way.
                env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
                process_group=0,  # Ctrl-C is for this process, which then ends its workers
            )
        except OSError as error:
            log.warning("cannot start a process to help with the text: %s", error)
            return None
        self._processes.append(process)
        try:
            assert process.stdin is not None
            send(process.stdin, self._task)
        except OSError:  # dead already; the first item tells
            pass
        return process


def _ask(process: _Process, item: object) -> tuple[Any, ...]:
    """A worker's answer to an item: a tuple of the result, or empty if it failed."""
    assert process.stdin is not None
    assert process.stdout is not None
    send(process.stdin, item)
    answer: tuple[Any, ...] = receive(process.stdout)
    return answer


def _close_pipes(process: _Process) -> None:
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:  # what was not sent yet has nobody to go to
            pass
