"""Work on several cores at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

import llm_timecycle
from llm_timecycle.generation.engines.thread_pool import ThreadPool


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_task_is_done_once_however_many_threads_there_are(threads: int) -> None:
    pool = ThreadPool(threads)
    for tasks in (0, 1, 2, 3, 7):
        done: list[int] = []
        pool.run([partial(done.append, number) for number in range(tasks)])
        assert sorted(done) == list(range(tasks))


def test_tasks_are_done_at_the_same_time() -> None:
    both_are_there = threading.Barrier(2, timeout=60)
    passed: list[int] = []
    ThreadPool(2).run([lambda: passed.append(both_are_there.wait())] * 2)
    assert sorted(passed) == [0, 1]


def test_the_first_task_is_done_by_the_caller() -> None:
    threads: list[int] = []
    ThreadPool(2).run([lambda: threads.append(threading.get_ident()), lambda: None])
    assert threads == [threading.get_ident()]


def test_an_error_elsewhere_is_raised_here_and_the_pool_continues() -> None:
    def fail() -> None:
        raise ValueError("weights of another shape")

    pool = ThreadPool(2)
    with pytest.raises(ValueError, match="weights of another shape"):
        pool.run([lambda: None, fail])
    done: list[str] = []
    pool.run([lambda: done.append("here"), lambda: done.append("there")])
    assert sorted(done) == ["here", "there"]


def test_a_pool_is_idle_once_interrupted_work_is_done() -> None:
    may_end, done = threading.Event(), list[str]()

    def interrupt() -> None:
        raise KeyboardInterrupt

    def work() -> None:
        may_end.wait(60)
        done.append("work")

    pool = ThreadPool(2)
    pool.wait_until_idle()
    with pytest.raises(KeyboardInterrupt):
        pool.run([interrupt, work])
    assert not done
    threading.Timer(0.05, may_end.set).start()
    pool.wait_until_idle()
    assert done == ["work"]


def test_threads_end_with_their_crew() -> None:
    pool = ThreadPool(2)
    workers: list[threading.Thread] = []
    pool.run([lambda: None, lambda: workers.append(threading.current_thread())])
    del pool
    workers[0].join(timeout=60)
    assert not workers[0].is_alive()


FORKED = """
import os, signal, threading
from llm_timecycle.generation.engines.thread_pool import ThreadPool

pool, may_end, done = ThreadPool(2), threading.Event(), []
pool.run([lambda: None, lambda: done.append("before")])
(waiting,) = pool.start(may_end.wait)
assert not waiting.is_lost
if (child := os.fork()) == 0:
    signal.alarm(120)
    assert waiting.is_lost
    pool.wait_until_idle()
    pool.run([lambda: None, lambda: done.append("after")])
    assert done == ["before", "after"]
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
may_end.set()
waiting.wait()
assert not waiting.is_lost
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems advise against forking")
def test_a_forked_process_starts_its_own_threads() -> None:
    root = Path(llm_timecycle.__file__).parents[1]
    finished = subprocess.run(
        [sys.executable, "-c", FORKED],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
