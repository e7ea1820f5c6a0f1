"""The watchdog on a clock that the test moves, and once in a process that is really stuck."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from llm_timecycle.distributed.cluster import Cluster, parse_cluster
from llm_timecycle.distributed.watchdog import ProcessEnd, Watchdog


def make_cluster(stall_s: float) -> Cluster:
    """The second of three workers."""
    cluster = parse_cluster("10.0.0.1:4000,10.0.0.2:4000,10.0.0.3:4000", 1)
    return replace(cluster, stall_s=stall_s)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class NoEnd(ProcessEnd):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.armed_s: list[float] = []

    def __call__(self, message: str) -> None:
        self.messages.append(message)

    def arm(self, after_s: float) -> None:
        self.armed_s.append(after_s)

    def disarm(self) -> None:
        self.armed_s.clear()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def end() -> NoEnd:
    return NoEnd()


def do_steps(watchdog: Watchdog, clock: Clock, seconds: list[float], first: int = 1) -> None:
    """Do steps that take so long."""
    for step, span_s in enumerate(seconds, first):
        clock.now_s += span_s
        watchdog.check(span_s)
        watchdog.beat(step)


def test_a_step_may_take_twenty_times_the_median(clock: Clock, end: NoEnd) -> None:
    watchdog = Watchdog(make_cluster(60), now=clock, end=end)
    do_steps(watchdog, clock, [50, 4, 5, 6])  # the first one is compiled, and says nothing
    assert watchdog.find_limit() == ("step 5", 100)
    watchdog.check(100)
    assert end.messages == []
    watchdog.check(0.5)
    (message,) = end.messages
    for part in ("worker 1 has waited 100 s in step 5 (usually 5 s)", "workers 0 (10.0.0.1:4000)"):
        assert part in message
    assert "and 2 (10.0.0.3:4000) are stuck or cannot be reached" in message
    assert "go on from the newest checkpoint" in message


def test_the_limit_of_quick_steps_is_the_shortest(clock: Clock, end: NoEnd) -> None:
    watchdog = Watchdog(make_cluster(60), now=clock, end=end)
    do_steps(watchdog, clock, [1, 0.01, 0.01])
    assert watchdog.find_limit()[1] == 60


def test_a_slow_step_among_many_does_not_stretch_the_limit(clock: Clock, end: NoEnd) -> None:
    watchdog = Watchdog(make_cluster(1), now=clock, end=end)
    do_steps(watchdog, clock, [1.0] * 5 + [15.0] + [1.0] * 5)
    assert watchdog.find_limit()[1] == 20


def test_steps_that_are_compiled_have_a_limit_too(clock: Clock, end: NoEnd) -> None:
    watchdog = Watchdog(make_cluster(60), now=clock, end=end)
    assert watchdog.find_limit() == ("the start", 600)
    watchdog.beat(7)
    assert watchdog.find_limit() == ("step 8", 600)
    clock.now_s += 300
    watchdog.beat(8, is_compiled=False)
    assert watchdog.find_limit() == ("step 9", 600)
    do_steps(watchdog, clock, [2.0], first=9)
    assert watchdog.find_limit() == ("step 10", 60)


def test_a_task_has_its_limit_and_counts_as_no_step(clock: Clock, end: NoEnd) -> None:
    watchdog = Watchdog(make_cluster(5), now=clock, end=end)
    do_steps(watchdog, clock, [1.0, 1.0, 1.0])
    with watchdog.allow("waiting for the checkpoint", 30):
        assert watchdog.find_limit() == ("waiting for the checkpoint", 30)
        clock.now_s += 29
        watchdog.check(29)
        with watchdog.allow("a barrier", 1):
            assert watchdog.find_limit() == ("a barrier", 5)
            watchdog.check(5)
        watchdog.check(29)
    do_steps(watchdog, clock, [1.0], first=4)
    assert watchdog.find_limit() == ("step 5", 20)
    assert end.messages == []
    with watchdog.allow("waiting for the checkpoint", 30):
        watchdog.check(31)
    assert "worker 1 has waited 30 s in waiting for the checkpoint:" in end.messages[0]


def test_the_end_is_armed_only_where_no_thread_of_python_runs(clock: Clock, end: NoEnd) -> None:
    """Its timer runs on while the process is suspended."""
    watchdog = Watchdog(make_cluster(5), now=clock, end=end)
    do_steps(watchdog, clock, [1.0, 1.0])
    watchdog.check(8)
    with watchdog.allow("a barrier", 40):
        watchdog.check(8)
        assert end.armed_s == []
    with watchdog.allow("connecting", 40, blocks_python=True):
        watchdog.check(8)
        assert end.armed_s == [40 + 10]
    assert end.armed_s == []


def test_time_in_which_the_thread_did_not_run_does_not_count(end: NoEnd) -> None:
    """It sees time pass only while it runs: at most five looks at once."""
    looks: list[float] = []

    def read_clock() -> float:
        looks.append(1000.0 * len(looks))
        return looks[-1]

    with Watchdog(make_cluster(60), now=read_clock, end=end, poll_s=0.01) as watchdog:
        watchdog.beat(1)
        while len(looks) < 6:
            time.sleep(0.01)
    assert end.messages == []


STUCK = """
import threading
from llm_timecycle.distributed.cluster import Cluster
from llm_timecycle.distributed.watchdog import Watchdog

def wait_for_the_others():
    with Watchdog(Cluster(("a:1", "b:1"), 0, "my", stall_s=0.2)) as watchdog:
        watchdog.beat(1)
        watchdog.beat(2)
        threading.Lock().acquire() and threading.Event().wait()

wait_for_the_others()
"""

HOLDS_THE_LOCK = """
from llm_timecycle.distributed import watchdog
from llm_timecycle.distributed.cluster import Cluster

watchdog._GRACE_S = 0.1
cluster = Cluster(("a:1", "b:1"), 0, "my", stall_s=0.1)
with watchdog.Watchdog(cluster) as dog:
    with dog.allow("connecting", 0.1, blocks_python=True):
        sum(range(10**12))  # in C, so that no other thread of Python runs
"""

WAITS_TO_BE_TOLD = """
from llm_timecycle.distributed import watchdog
from llm_timecycle.distributed.cluster import Cluster

watchdog._GRACE_S = 0.1
cluster = Cluster(("a:1", "b:1"), 0, "my", stall_s=1.0)
with watchdog.Watchdog(cluster, poll_s=60) as dog:
    with dog.allow("a barrier", 1.0):
        print("waiting", flush=True)
        input()
"""


def test_a_process_that_is_stuck_ends_with_its_stacks_and_a_message() -> None:
    finished = run(STUCK)
    assert finished.returncode == 6
    stacks, _, message = finished.stderr.partition("Error: ")
    assert "in wait_for_the_others" in stacks
    assert message.startswith("worker 0 has waited 0.2 s in step 3 (usually ")
    assert len(message.splitlines()) == 1
    assert finished.stdout == ""


def test_a_process_in_which_no_thread_runs_ends_too() -> None:
    finished = run(HOLDS_THE_LOCK)
    assert finished.returncode == 1
    assert "Timeout" in finished.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX")
def test_a_process_that_was_suspended_beyond_its_limit_goes_on() -> None:
    """Its thread, which sleeps, cannot help it: what else would end it must not be set."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", WAITS_TO_BE_TOLD]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        _, errors = process.communicate("end\n", timeout=60)
    assert (process.returncode, errors) == (0, "")


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
