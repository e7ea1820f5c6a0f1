"""A worker that the launcher started ends with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from llm_timecycle.distributed.parent import LAUNCHER, end_with_launcher

WORKER = """
import sys, time
from llm_timecycle.distributed.parent import end_with_launcher
end_with_launcher({ask})
print("ready", flush=True)
time.sleep(60)
"""
PARENT = f"""
import os, subprocess, sys
os.environ["{LAUNCHER}"] = str(os.getpid())
subprocess.Popen([sys.executable, "-c", sys.argv[1]]).wait()
"""


@pytest.mark.parametrize("ask", ["", "ask_system=lambda: False"])
def test_a_worker_ends_when_its_launcher_is_killed(ask: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, WORKER.format(ask=ask)], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        assert parent.stdout.readline() == b"ready\n"
        parent.send_signal(signal.SIGKILL)
        assert parent.stdout.read() == b""  # its end has come only when the worker is gone, too


def test_a_worker_whose_launcher_is_gone_already_ends_at_once() -> None:
    ends: list[str] = []
    end_with_launcher({LAUNCHER: "1"}, ask_system=lambda: True, end=lambda: ends.append("now"))
    assert ends == ["now"]


@pytest.mark.parametrize("value", ["", "many", "-1"])
def test_without_a_launcher_nothing_happens(value: str) -> None:
    asked: list[bool] = []
    before = threading.active_count()
    end_with_launcher({LAUNCHER: value}, ask_system=lambda: bool(asked.append(True)))
    assert asked == []
    assert threading.active_count() == before
