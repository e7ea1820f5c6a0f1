"""Ctrl-C, SIGTERM and SIGHUP as a request to stop, which the loop obeys between two steps."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from llm_timecycle.errors import Interrupted


class Stopped(Exception):  # noqa: N818 - not an error: how work is left in its middle
    """A signal asked the work to stop."""


class StopRequest:
    """Whether a signal asked the work to stop, and which one."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def check(self) -> None:
        """Raise Stopped if a signal asked for it."""
        if self.signal_number is not None:
            raise Stopped


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a request; a second SIGINT stops immediately.

    SIGHUP, which Windows lacks, says that the terminal was closed. Where `nohup` has it ignored, it
    stays ignored. Outside the main thread, where Python delivers no signals, nothing is caught.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def note_signal(number: int, frame: FrameType | None) -> None:
        if request.signal_number is not None and number == signal.SIGINT:
            raise Interrupted(
                "Stopped immediately: the work since the last checkpoint is lost", number
            )
        request.signal_number = number
        _leave_closed(terminals)

    before = {number: signal.signal(number, note_signal) for number in _list_signals()}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _list_signals() -> list[signal.Signals]:
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or signal.getsignal(hang_up) == signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hang_up]


def _leave_closed(terminals: list[int]) -> None:
    """Drop what is still written to terminals that were closed: each write would be an error."""
    for descriptor in terminals:
        if not os.isatty(descriptor):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
