"""Ctrl-C and SIGTERM as a request to stop, which the loop obeys between two steps."""

from __future__ import annotations

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
    """Turn the first SIGINT or SIGTERM into a request; a second SIGINT stops immediately.

    Outside the main thread, where Python delivers no signals, nothing is caught.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note_signal(number: int, frame: FrameType | None) -> None:
        if request.signal_number is not None and number == signal.SIGINT:
            raise Interrupted(
                "Stopped immediately: the work since the last checkpoint is lost", number
            )
        request.signal_number = number

    before = {
        number: signal.signal(number, note_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
