"""Updates on their way to the answer of one request, in the thread of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from llm_timecycle.serving.errors import ApiError
from llm_timecycle.serving.writing.jobs import Job, Update

WAITING_AT_MOST = 2048


class Outbox:
    """A bounded queue, so that a reader who does not read costs no memory and holds nobody up.

    If it overflows, what waits is dropped and the job is cancelled.

    Args:
        cancel: called with the job when the queue overflows.
        most: updates that may wait.
    """

    def __init__(self, cancel: Callable[[Job], None], most: int = WAITING_AT_MOST) -> None:
        self._cancel, self._most = cancel, most
        self._waiting: deque[Update] = deque()
        self._reader: asyncio.Future[bool] | None = None
        self._is_closed = False

    def put(self, update: Update) -> None:
        """Add an update; called by the event loop, never blocks."""
        if self._is_closed:
            return
        self._is_closed = update.is_finished
        if len(self._waiting) >= self._most and update.error is None:
            self._is_closed = True
            self._waiting.clear()
            self._cancel(update.job)
            error = ApiError(
                408,
                f"the answer was not read: more than {self._most} tokens were waiting to be sent",
                code="slow_reader",
            )
            update = Update(update.job, error=error, is_finished=True)
        self._waiting.append(update)
        self._wake(True)

    async def take(self, timeout_s: float) -> list[Update]:
        """Everything that waits, one update or more.

        Raises TimeoutError if nothing comes within `timeout_s`.
        """
        if not self._waiting:
            loop = asyncio.get_running_loop()
            self._reader = loop.create_future()
            timer = loop.call_later(timeout_s, self._wake, False)  # much cheaper than wait_for
            try:
                if not await self._reader:
                    raise TimeoutError
            finally:
                timer.cancel()
                self._reader = None
        updates = list(self._waiting)
        self._waiting.clear()
        return updates

    def _wake(self, has_some: bool) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(has_some)
