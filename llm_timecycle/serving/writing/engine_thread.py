"""The one thread that computes: it advances the batch of every model, and reports what is new.

Everything else talks to it through `submit`, `cancel` and `stop`. Updates go to `deliver`, a list a
turn, which must not block: the batch waits for no reader.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from llm_timecycle.errors import RunError
from llm_timecycle.serving.errors import ApiError
from llm_timecycle.serving.writing.batch import Batch
from llm_timecycle.serving.writing.jobs import Job, Update

Deliver = Callable[[Sequence[Update]], None]
STOPPING = "the server is shutting down; send the request again later"


class EngineThread:
    """Writes the texts of all jobs, of every model.

    Args:
        batches: by the name of the model.
        deliver: takes the updates of a turn.
        max_queue: the most jobs that wait for a row.
    """

    def __init__(self, batches: Mapping[str, Batch], deliver: Deliver, max_queue: int) -> None:
        self._batches, self._deliver, self._max_queue = dict(batches), deliver, max_queue
        self._condition = threading.Condition()
        self._inbox: deque[tuple[str, Job]] = deque()
        self._is_stopping = False
        self._jobs: set[Job] = set()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def unfinished(self) -> int:
        """Jobs that are queued or being written."""
        return len(self._jobs)

    @property
    def waiting(self) -> int:
        """Of these, those whose prompts are not being read yet."""
        return sum(job.times.start_s is None for job in tuple(self._jobs))

    def check_has_room(self) -> None:
        """Raise ApiError: 429 if too many jobs are waiting, 503 if the thread is stopping."""
        with self._condition:
            if self._is_stopping:
                raise ApiError(503, STOPPING, code="shutting_down")
            if self.waiting >= self._max_queue:
                raise ApiError(
                    429,
                    f"{self._max_queue} requests are waiting already; send this one again later",
                    code="queue_full",
                )

    def submit(self, model: str, job: Job) -> None:
        """Queue a job.

        Raises ApiError as `check_has_room` does.
        """
        with self._condition:
            self.check_has_room()
            self._jobs.add(job)
            self._inbox.append((model, job))
            self._condition.notify()

    def cancel(self, job: Job) -> None:
        """Drop a job before its next token; its rows become free. Finished ones are let be."""
        with self._condition:
            job.is_cancelled = True
            self._jobs.discard(job)
            self._condition.notify()

    def stop(self) -> None:
        """End all jobs with an error, and the thread after its turn."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._inbox and not self._is_stopping and not self._has_work():
                    self._condition.wait()
                arrived, self._inbox = self._inbox, deque()
                is_stopping = self._is_stopping
            for model, job in arrived:
                self._batches[model].add(job)
            if is_stopping:
                for batch in self._batches.values():
                    self._fail(batch, ApiError(503, STOPPING, code="shutting_down"))
                return
            for batch in self._batches.values():
                if batch.has_work:
                    self._advance(batch)

    def _has_work(self) -> bool:
        return any(batch.has_work for batch in self._batches.values())

    def _advance(self, batch: Batch) -> None:
        try:
            updates = batch.advance()
        except RunError as error:
            self._fail(batch, ApiError(500, str(error), code="model_failed"))
            return
        except Exception:  # noqa: BLE001 - one request's trouble must not end the server
            traceback.print_exc(file=sys.stderr)
            self._fail(batch, ApiError(500, "internal error; see the server's messages"))
            return
        finished = [update.job for update in updates if update.is_finished]
        if finished:
            with self._condition:
                self._jobs.difference_update(finished)
        if updates:
            self._deliver(updates)

    def _fail(self, batch: Batch, error: ApiError) -> None:
        """End every job of a batch with an error."""
        jobs = [job for job in batch.list_jobs() if not job.is_cancelled]
        batch.clear()
        with self._condition:
            self._jobs.difference_update(jobs)
        if jobs:
            self._deliver([Update(job, error=error, is_finished=True) for job in jobs])
