"""Ctrl-C and SIGTERM as a request that the loop answers between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from llm_timecycle.errors import Interrupted


class StopRequest:
    """Whether the work was asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal_number: int | None = None


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request; a second SIGINT ends the work at once.

    Outside the main thread, where Python delivers no signals, nothing is caught.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note_signal(number: int, frame: FrameType | None) -> None:
        if request.signal_number is not None and number == signal.SIGINT:
            raise Interrupted(
                "Stopped at once: what was done since the last checkpoint is not saved", number
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
