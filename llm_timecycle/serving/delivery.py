"""Updates on their way from the engine thread to the event loop, as often as that pays.

To send an event takes longer than to write a small model's token, and on few cores it takes the
time from the engine. So sending may take a share of the time of one core: after a round that took
s seconds of it, the next one waits s / LOOP_SHARE, and tokens that have come together until then
are sent together. The end of a request never waits.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from llm_timecycle.serving.writing.jobs import Update

LOOP_SHARE = 0.05
LONGEST_WAIT_S = 0.03


class Delivery:
    """Hands updates over in rounds.

    Args:
        loop: the event loop.
        dispatch: takes updates, in the thread of the loop.
        now: a monotonic clock, in seconds.
        spent: the processor time of the calling thread, in seconds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        dispatch: Callable[[Sequence[Update]], None],
        now: Callable[[], float] = time.perf_counter,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._loop, self._dispatch, self._now, self._spent = loop, dispatch, now, spent
        self._lock = threading.Lock()
        self._waiting: list[Update] = []
        self._is_scheduled = False
        self._due_s = 0.0

    def put(self, updates: Sequence[Update]) -> None:
        """Hand updates over, from any thread, without waiting."""
        with self._lock:
            self._waiting += updates
            is_urgent = any(update.is_finished for update in updates)
            if self._is_scheduled and not is_urgent:
                return
            self._is_scheduled = True
        with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._take if is_urgent else self._take_when_due)

    def _take_when_due(self) -> None:
        left_s = self._due_s - self._now()
        if left_s > 0:
            self._loop.call_later(left_s, self._take)
        else:
            self._take()

    def _take(self) -> None:
        with self._lock:
            updates, self._waiting = self._waiting, []
            self._is_scheduled = False
        if updates:
            start_s = self._spent()
            self._dispatch(updates)
            self._loop.call_soon(self._note, start_s)  # after those whom this has woken

    def _note(self, start_s: float) -> None:
        spent_s = self._spent() - start_s
        self._due_s = self._now() + min(LONGEST_WAIT_S, spent_s / LOOP_SHARE)
