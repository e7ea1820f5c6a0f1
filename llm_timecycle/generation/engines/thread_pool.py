"""Work done on several cores at once by threads that wait for it.

NumPy lets go of the interpreter while it multiplies, so threads of Python share a product among the
cores as well as its library's own do, and what each of them does can be chosen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from queue import SimpleQueue
from typing import TYPE_CHECKING

from llm_timecycle.system import count_hardware_threads

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

THREADS_AT_MOST = 4  # reading memory gains little from more

Task = Callable[[], object]


@contextmanager
def hold_library_to_one_thread() -> Iterator[None]:
    """While it lasts, a product is computed by the thread that asks for it.

    Products that the library shares among the cores wait for each other, so tasks side by side
    would be done one after another. It holds for the whole process, and for libraries that can be
    told; the others go on as they are.
    """
    with _find_libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _find_libraries() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController  # 10 ms that a short prompt does not need

    return ThreadpoolController()


class ThreadPool:
    """The calling thread and others beside it.

    >>> pool = ThreadPool(threads=2)
    >>> done = []
    >>> pool.run([lambda: done.append("a"), lambda: done.append("b"), lambda: done.append("c")])
    >>> sorted(done)
    ['a', 'b', 'c']

    Args:
        threads: how many there are in all; as many as there are cores for this process, unless
            told, and at most `THREADS_AT_MOST`.

    Attributes:
        threads: how many there are in all.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or min(count_hardware_threads(), THREADS_AT_MOST)
        self._queues: list[_Queue] = []

    def run(self, tasks: Sequence[Task]) -> None:
        """Do all tasks, the first one in this thread; return when all are done.

        A task must neither call `run` nor wait for another one of them. Where some fail, the error
        of one is raised.
        """
        orders = [
            self._order(task, number % self.threads)
            for number, task in enumerate(tasks)
            if number % self.threads
        ]
        for task in tasks[:: self.threads]:
            task()
        for order in orders:
            order.wait()

    def wait_until_idle(self) -> None:
        """Return when the other threads have nothing left to do.

        After Ctrl-C has ended the wait for some of it, nothing else may be begun before.
        """
        if self._queues:
            for order in self.start(lambda: None):
                order.wait()

    def start(self, task: Task) -> list[Job]:
        """Let each of the other threads do `task`, after what it has to do already.

        Their orders, to be waited for; none where there is no other thread.
        """
        return [self._order(task, place) for place in range(1, self.threads)]

    def _order(self, task: Task, place: int) -> Job:
        if not self._queues:
            self._start_threads()
        order = Job(task)
        self._queues[place - 1].put(order)
        return order

    def _start_threads(self) -> None:
        for _ in range(self.threads - 1):
            queue: _Queue = SimpleQueue()
            threading.Thread(target=_work, args=(queue,), daemon=True).start()
            self._queues.append(queue)

    def __del__(self) -> None:
        for queue in self._queues:
            queue.put(None)


class Job:
    """A task for another thread.

    Each has a lock of its own: where Ctrl-C ends the wait for it, its end cannot be taken for that
    of a later one.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.error: BaseException | None = None
        self.is_done = threading.Lock()
        self.is_done.acquire()

    def wait(self) -> None:
        """Return when the task is done, or raise the error that ended it; once."""
        self.is_done.acquire()
        if self.error is not None:
            raise self.error


_Queue = SimpleQueue["Job | None"]


def _work(queue: _Queue) -> None:
    while (order := queue.get()) is not None:
        try:
            order.task()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            order.error = error
        order.is_done.release()
        del order  # what it holds must not live until the next one comes
