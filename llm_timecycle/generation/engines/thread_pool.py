"""A small pool of threads that work on several cores at once.

NumPy releases the interpreter lock while it multiplies, so Python threads split a product among the
cores as well as the threads of its BLAS library do, and the program decides which does what.

A process that is forked from this one has none of its other threads. Python counts them as ended
there, so a pool starts new ones, and a job that was waiting for one is lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from llm_timecycle.system import count_hardware_threads

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

THREADS_AT_MOST = 4  # more hardly speed up reading memory

Task = Callable[[], object]


@contextmanager
def limit_blas_to_one_thread() -> Iterator[None]:
    """A context in which the thread that calls for a product computes all of it.

    Products that BLAS splits among the cores wait for each other, so parallel tasks would run one
    after another. The limit applies to the whole process, if its BLAS library supports one.
    """
    with _find_libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _find_libraries() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController  # 10 ms that a short prompt can save

    return ThreadpoolController()


class ThreadPool:
    """The calling thread and a few others.

    >>> pool = ThreadPool(threads=2)
    >>> done = []
    >>> pool.run([lambda: done.append("a"), lambda: done.append("b"), lambda: done.append("c")])
    >>> sorted(done)
    ['a', 'b', 'c']

    Args:
        threads: how many, the calling one included; None: one per hardware thread that this
            process may use, at most `THREADS_AT_MOST`.

    Attributes:
        threads: how many, the calling one included.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or min(count_hardware_threads(), THREADS_AT_MOST)
        self._others: list[_Worker] = []

    def run(self, tasks: Sequence[Task]) -> None:
        """Run all tasks, the first one in this thread; return when all are done.

        A task must neither call `run` nor wait for another task. If several fail, the error of one
        is raised.
        """
        jobs = [
            self._submit(task, number % self.threads)
            for number, task in enumerate(tasks)
            if number % self.threads
        ]
        for task in tasks[:: self.threads]:
            task()
        for job in jobs:
            job.wait()

    def wait_until_idle(self) -> None:
        """Return when the other threads have nothing left to do.

        Ctrl-C may have ended a wait for them; nothing new may start before they are done.
        """
        if self._others:
            for job in self.start(lambda: None):
                job.wait()

    def start(self, task: Task) -> list[Job]:
        """Let each of the other threads run `task` after its earlier jobs.

        Returns the jobs to wait for; none if there is no other thread.
        """
        return [self._submit(task, thread) for thread in range(1, self.threads)]

    def _submit(self, task: Task, number: int) -> Job:
        if not self._others or not self._others[0].thread.is_alive():
            self._others = [_start_worker() for _ in range(self.threads - 1)]
        thread, queue = self._others[number - 1]
        job = Job(task, thread)
        queue.put(job)
        return job

    def __del__(self) -> None:
        for worker in self._others:
            worker.queue.put(None)


class Job:
    """A task for another thread.

    Each job has its own lock: if Ctrl-C ends the wait for one job, its end cannot be mistaken for
    the end of a later one.
    """

    def __init__(self, task: Task, thread: threading.Thread) -> None:
        self.task = task
        self._thread = thread
        self.error: BaseException | None = None
        self.is_done = threading.Lock()
        self.is_done.acquire()

    @property
    def is_lost(self) -> bool:
        """Whether it will never be done: this process was forked while it waited for its thread."""
        return self.is_done.locked() and not self._thread.is_alive()

    def wait(self) -> None:
        """Return when the task is done, or raise the error that ended it; once."""
        self.is_done.acquire()
        if self.error is not None:
            raise self.error


_Queue = SimpleQueue["Job | None"]


class _Worker(NamedTuple):
    thread: threading.Thread
    queue: _Queue


def _start_worker() -> _Worker:
    queue: _Queue = SimpleQueue()
    thread = threading.Thread(target=_work, args=(queue,), daemon=True)
    thread.start()
    return _Worker(thread, queue)


def _work(queue: _Queue) -> None:
    while (job := queue.get()) is not None:
        try:
            job.task()
        except BaseException as error:  # noqa: BLE001 - `wait` raises it
            job.error = error
        job.is_done.release()
        del job  # free what it holds before the next one comes
