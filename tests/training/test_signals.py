"""Signals as requests to stop, and a terminal that is closed."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_timecycle.runs.directory import open_run
from llm_timecycle.training.signals import Stopped, catch_stop_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_a_request_and_its_handler_is_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with catch_stop_signals() as request:
        request.check()
        signal.raise_signal(number)
        assert request.signal_number == number
        with pytest.raises(Stopped):
            request.check()
    assert signal.getsignal(number) == before


def test_a_hang_up_that_nohup_has_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch_stop_signals() as request:
            signal.raise_signal(signal.SIGHUP)
            assert request.signal_number is None
    finally:
        signal.signal(signal.SIGHUP, before)


IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "llm_timecycle", *sys.argv[1:]])
"""
SETTINGS = """\
data: {train: sample-english, valid_fraction: 0.02}
tokenizer: {level: char}
model: {embedding_dim: 4, hidden_units: 8, num_layers: 1}
training: {batch_size: 8, sequence_length: 16, epochs: 100000, checkpoint_every: 5,
           precision: float32, threads: 1}
"""


def test_a_closed_terminal_ends_training_after_it_was_saved(tmp_path: Path) -> None:
    """From then on, every write to the terminal is an error, and its progress bar writes often."""
    (tmp_path / "own.yaml").write_text(SETTINGS)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, "train", "own.yaml"],
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm"},  # one that is told to be dumb gets no bar
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    run = tmp_path / "runs" / "own"
    shown, deadline_s = bytearray(), time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline_s:
        if select.select([ours], [], [], 0.05)[0]:
            shown.extend(os.read(ours, 4096))
        if list_steps(run):
            break
    first = max(list_steps(run), default=0)
    time.sleep(0.2)
    os.close(ours)  # the system sends SIGHUP
    assert process.wait(timeout=60) == 128 + signal.SIGHUP, bytes(shown)
    assert max(list_steps(run)) > first > 0
    open_run(run).load_weights()


def list_steps(run: Path) -> list[int]:
    """Those of the checkpoints that are there."""
    return [int(path.name[5:]) for path in (run / "checkpoints").glob("step-*")]
