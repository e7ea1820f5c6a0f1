"""A process that measures for this one: what it reads and says, and that it ends with this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_timecycle.profiling.measure.subprocesses import Finished, explain_failure

PLAIN_ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ECHO = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"


def test_text_goes_in_and_out_whatever_the_locale_is() -> None:
    program = (
        "import sys; from llm_timecycle.profiling.measure.subprocesses import run_child; "
        f"done = run_child([sys.executable, '-c', {ECHO!r}], chr(0x4E2D)); "
        "print(ascii(done.stdout))"
    )
    environment = {**os.environ, **PLAIN_ASCII}
    printed = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    assert printed == "'\\u4e2d'\n"


@pytest.mark.parametrize(
    ("exit_code", "said", "reason"),
    [
        (4, "a warning\nError: first\nmore\nError: no text.\nAdd one\n", "no text.\nAdd one"),
        (1, "Traceback:\nValueError: x\n", "ValueError: x"),
        (1, "", "exit code 1"),
        (-15, "Error: first\n", "ended by signal 15 (SIGTERM)"),
    ],
)
def test_a_failure_is_the_last_message_or_the_signal(
    exit_code: int, said: str, reason: str
) -> None:
    assert explain_failure(Finished(["x"], exit_code, "", said)) == reason


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_child_ends_with_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "child"
    child = (
        "import os, pathlib, sys, time; path = pathlib.Path(sys.argv[1]); "
        "path.with_suffix('.new').write_text(str(os.getpid())); "
        "path.with_suffix('.new').rename(path); time.sleep(60)"
    )
    program = (
        "import sys; from llm_timecycle.profiling.measure.subprocesses import run_child; "
        f"run_child([sys.executable, '-c', {child!r}, sys.argv[1]])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(file)], stderr=subprocess.DEVNULL
    ) as parent:
        deadline = time.monotonic() + 30
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        parent.send_signal(number)
        assert parent.wait(timeout=30) == -number
    # It was killed, but after Ctrl-C nobody waits for it to be gone; left alone it would sleep on.
    deadline = time.monotonic() + 30
    while is_there(int(file.read_text())):
        assert time.monotonic() < deadline, "the child goes on"
        time.sleep(0.01)


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_module_in_the_current_directory_is_not_run(tmp_path: Path) -> None:
    """It may have come with somebody's texts, and be called like one of Python's."""
    trap = "from pathlib import Path; Path('trapped').touch()"
    for name in ("json", "numpy", "llm_timecycle"):
        (tmp_path / f"{name}.py").write_text(trap)
    program = (
        "from llm_timecycle.profiling.measure.subprocesses import run_module; "
        "print(run_module('llm_timecycle', ['--version']).stdout)"
    )
    command = [sys.executable, "-P", "-c", program]
    printed = subprocess.check_output(command, cwd=tmp_path, text=True)
    assert printed.startswith("llm-timecycle, version")
    assert not (tmp_path / "trapped").exists()
