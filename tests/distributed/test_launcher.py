"""The launcher with workers that are small programs: every way in which a job can end."""

from __future__ import annotations

import logging
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_timecycle.distributed.launcher import Patience, run_job
from llm_timecycle.distributed.relay import BarRelay, LineRelay
from llm_timecycle.distributed.worker_process import WorkerCommand
from llm_timecycle.errors import Interrupted, TimecycleError, WorkersError

QUICK = Patience(after_failure_s=0.3, after_success_s=0.3, before_restart_s=0.0)
SLEEP = "import time; time.sleep(60)"
SAY = "import sys; print('hello', flush=True); print('there', file=sys.stderr)"


def fail(message: str, code: int) -> str:
    return f"import os; os.write(2, b'Error: {message}\\n'); os._exit({code})"


class Job:
    """Runs programs of Python as workers, and keeps what they print."""

    def __init__(self) -> None:
        self.shown = b""
        self.attempts: list[int] = []

    def run(self, *programs: str | list[str], restarts: int = 0) -> None:
        """Run it; a list has the program of each attempt."""

        def make_commands(attempt: int) -> list[WorkerCommand]:
            self.attempts.append(attempt)
            chosen = [each if isinstance(each, str) else each[attempt] for each in programs]
            return [WorkerCommand([sys.executable, "-S", "-c", program]) for program in chosen]

        run_job(make_commands, restarts, patience=QUICK, write=self._write)

    def _write(self, shown: bytes) -> None:
        self.shown += shown


@pytest.fixture
def job() -> Job:
    return Job()


def check_fails(job: Job, *programs: str | list[str], restarts: int = 0) -> TimecycleError:
    with pytest.raises(WorkersError) as caught:
        job.run(*programs, restarts=restarts)
    return caught.value


def test_lines_have_the_number_of_their_worker(job: Job) -> None:
    job.run(SAY, SAY)
    assert sorted(job.shown.decode().splitlines()) == [
        f"[{index}] {word}" for index in (0, 1) for word in ("hello", "there")
    ]


def test_an_error_that_all_have_is_shown_once_with_its_exit_code(job: Job) -> None:
    message = "workers 0 and 1 have text ab, worker 2 has cd"
    error = check_fails(job, *[fail(message, 2)] * 3, restarts=3)
    assert (str(error), error.exit_code) == (message, 2)
    assert job.shown == b""
    assert job.attempts == [0]


def test_the_others_end_where_one_is_killed(job: Job) -> None:
    error = check_fails(job, SLEEP, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert "worker 1 was ended by signal 9 (SIGKILL)" in str(error)
    assert error.exit_code == WorkersError.exit_code


def test_what_came_first_is_the_cause(job: Job) -> None:
    lost = "import time; time.sleep(0.1);" + fail("the connection was lost", 6)
    error = check_fails(job, lost, "import os; os.abort()")
    assert "worker 1 was ended by signal 6 (SIGABRT)" in str(error)


def test_a_worker_that_had_to_be_killed_is_named(job: Job) -> None:
    error = check_fails(job, fail("worker 0 has waited 60 s in step 9", 6), SLEEP)
    assert str(error) == "worker 1 did not react any more; worker 0 has waited 60 s in step 9"


def test_all_start_again_where_one_was_lost(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "llm_timecycle")
    job.run([SLEEP, SAY], [fail("oops. Try it again", 1), SAY], restarts=1)
    assert job.attempts == [0, 1]
    assert "[0] hello" in job.shown.decode()
    (line,) = caplog.messages
    assert line == (
        "worker 1: oops. All 2 workers start again from the newest checkpoint (restart 1 of 1)"
    )


def test_the_job_fails_after_its_last_restart(job: Job) -> None:
    error = check_fails(job, SLEEP, fail("oops", 1), restarts=1)
    assert (str(error), error.exit_code) == ("worker 1: oops (after 1 restart)", 1)


@pytest.mark.parametrize("code", [2, 3, 4, 5])
def test_what_cannot_end_differently_is_not_tried_again(job: Job, code: int) -> None:
    error = check_fails(job, SLEEP, fail("no", code), restarts=3)
    assert error.exit_code == code
    assert job.attempts == [0]


def test_the_job_has_succeeded_when_the_chief_has(job: Job) -> None:
    """Others that lose it at their end, or do not find theirs, change nothing."""
    late = "import time; time.sleep(0.1);" + fail("the connection was lost", 6)
    job.run("pass", late, SLEEP, restarts=1)
    assert job.attempts == [0]


def test_a_worker_that_cannot_be_started_ends_the_others() -> None:
    commands = [WorkerCommand([sys.executable, "-c", SLEEP]), WorkerCommand(["/no/such/program"])]
    began_s = time.monotonic()
    with pytest.raises(WorkersError, match="worker 1 cannot be started: No such file"):
        run_job(lambda _: commands, 0)
    assert time.monotonic() - began_s < 30


def test_what_a_worker_has_started_ends_with_it(job: Job, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    start = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); "
        f"open({str(note)!r}, 'w').write(str(p.pid)); sys.exit(1)"
    )
    check_fails(job, start)
    wait_for(lambda: not is_running(int(note.read_text())))


LAUNCH = """
import logging, sys
from llm_timecycle.distributed.launcher import Patience, run_job
from llm_timecycle.distributed.worker_process import WorkerCommand
from llm_timecycle.errors import TimecycleError

logging.basicConfig(format="%(message)s")
commands = [WorkerCommand([sys.executable, "-S", "-c", program]) for program in sys.argv[2:]]
try:
    has_terminal = sys.argv[1] == "1"
    run_job(lambda attempt: commands, 3, patience=Patience(0.5, 0.5), has_terminal=has_terminal)
except TimecycleError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
OBEY = """
import os, signal, sys, time
def stop(number, frame):
    print(f"Stopped by {number}.", file=sys.stderr, flush=True)
    os._exit(128 + number)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
print(f"pid {os.getpid()}", file=sys.stderr, flush=True)
time.sleep(60)
"""
IGNORE = OBEY.replace("os._exit(128 + number)", "pass") + "time.sleep(60)\n" * 3


def launch(*programs: str, kind: str = "0") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, kind, *programs], stderr=subprocess.PIPE, text=True
    )


def read_pids(launcher: subprocess.Popen[str], count: int) -> list[int]:
    """The process ids that workers print first."""
    assert launcher.stderr is not None
    lines = [launcher.stderr.readline() for _ in range(count)]
    return [int(re.sub(r".*pid ", "", line)) for line in lines]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_goes_to_all_workers_and_the_job_ends_as_they_do(number: int) -> None:
    with launch(OBEY, OBEY) as launcher:
        read_pids(launcher, 2)
        launcher.send_signal(number)
        assert launcher.stderr is not None
        assert launcher.stderr.read() == f"Stopped by {number}.\n"
        assert launcher.wait() == 128 + number


def test_a_second_signal_ends_what_does_not_react() -> None:
    with launch(IGNORE, OBEY) as launcher:
        pids = read_pids(launcher, 2)
        launcher.send_signal(signal.SIGTERM)
        assert launcher.stderr is not None
        launcher.send_signal(signal.SIGINT)
        launcher.stderr.read()
        assert launcher.wait() != 0
        assert not any(map(is_running, pids))


def test_a_stopped_worker_is_killed_when_another_fails() -> None:
    stuck = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    with launch(fail("worker 0 has waited 5 s in step 3", 5), stuck) as launcher:
        assert launcher.stderr is not None
        assert "has waited 5 s in step 3" in launcher.stderr.read()
        assert launcher.wait() == 5


@pytest.mark.skipif(sys.platform != "linux", reason="the system sees to it on Linux")
def test_no_worker_outlives_a_launcher_that_is_killed() -> None:
    program = "from llm_timecycle.distributed.parent import end_with_launcher\n"
    program += f"end_with_launcher()\nimport sys\nsys.path.clear()\n{OBEY}"
    paths = f"import sys; sys.path[:] = {sys.path!r}\n"
    with launch(paths + program, paths + program) as launcher:
        pids = read_pids(launcher, 2)
        launcher.kill()
        wait_for(lambda: not any(map(is_running, pids)))
        assert launcher.stderr is not None
        launcher.stderr.read()


BAR = """
import os, sys, time
assert os.isatty(2)
sys.stderr.write("\\repoch 1:  50%|###  |")
sys.stderr.flush()
time.sleep(0.2)
sys.stderr.write("\\repoch 1: 100%|#####|\\n")
sys.stderr.flush()
os.write(2, b"Error: the end\\n")
sys.exit(3)
"""


def test_the_first_worker_shows_its_bar_on_a_terminal() -> None:
    own, other = pty.openpty()
    other_says = "import sys, time; time.sleep(0.1); print('from 1', file=sys.stderr)"
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCH, "1", BAR, other_says], stderr=other
    ) as launcher:
        os.close(other)
        shown = read_all(own)
        assert launcher.wait() == 3
    assert "\repoch 1:  50%|###  |" in shown
    assert "\r\x1b[K[1] from 1\r\n" in shown
    assert shown.endswith("\repoch 1: 100%|#####|\r\nworker 0: the end\r\n")


def read_all(terminal: int) -> str:
    received = b""
    try:
        while piece := os.read(terminal, 1000):
            received += piece
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return received.decode()


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.02)


PIECES = [b"one\n", b"\rbar 1", b"\rbar 2", b"\n", b"Err", b"ors are fine\n", b"Error: no\nmore\n"]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_output_is_passed_on_however_it_is_cut(size: int) -> None:
    whole, shown, lines = b"".join(PIECES), bytearray(), bytearray()
    bar, line = BarRelay(shown.extend), LineRelay("[1] ", lines.extend)
    for at in range(0, len(whole), size):
        bar.feed(whole[at : at + size])
        line.feed(whole[at : at + size])
    bar.close()
    line.close()
    assert bytes(shown) == b"one\n\rbar 1\rbar 2\nErrors are fine\n"
    assert bytes(lines) == b"[1] one\n[1] bar 2\n[1] Errors are fine\n"
    assert bar.message == line.message == "Error: no\nmore"


def test_a_line_without_end_is_passed_on_at_the_end() -> None:
    shown = bytearray()
    for relay in (BarRelay(shown.extend), LineRelay("[1] ", shown.extend)):
        relay.feed(b"Err")
        relay.close()
    assert bytes(shown) == b"Err\n[1] Err\n"


def test_a_job_outside_the_main_thread_catches_no_signals(job: Job) -> None:
    thread = threading.Thread(target=job.run, args=(SAY,))
    thread.start()
    thread.join()
    assert b"[0] hello" in job.shown


def test_an_interrupt_has_the_message_of_the_chief() -> None:
    program = "import os; os.write(2, b'Stopped after step 5.\\n'); os._exit(143)"
    with pytest.raises(Interrupted, match="Stopped after step 5") as caught:
        Job().run(program, program)
    assert caught.value.exit_code == 143
