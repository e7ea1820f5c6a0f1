"""What the endpoints share: the models, the engine thread, the limits, and the way to a job."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from llm_timecycle.errors import TimecycleError
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.serving.completions.outbox import Outbox
from llm_timecycle.serving.completions.request import CompletionRequest, Limits
from llm_timecycle.serving.delivery import Delivery
from llm_timecycle.serving.errors import ApiError
from llm_timecycle.serving.models import ServedModel
from llm_timecycle.serving.writing.batch import Batch
from llm_timecycle.serving.writing.engine_thread import STOPPING, EngineThread
from llm_timecycle.serving.writing.jobs import Job, Update


@dataclass(frozen=True)
class ServiceLimits:
    """How much the server takes on."""

    request: Limits = field(default_factory=Limits)
    max_batch: int = 32
    """Texts that are written at once."""
    max_queue: int = 256
    """Requests that may wait."""
    max_body_bytes: int = 4_000_000
    timeout_s: float = 600.0
    """The longest time that one request may take."""


class Service:
    """The models and their engine thread, loaded in the background.

    Args:
        models: by name.
        limits: how much is taken on.
        on_failure: called if loading fails, with the error.
        now: a monotonic clock, in seconds.

    Attributes:
        note: called with each job that has finished, for statistics.
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        limits: ServiceLimits,
        *,
        on_failure: Callable[[TimecycleError], None] = lambda error: None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.models, self.limits = dict(models), limits
        self._on_failure, self._now = on_failure, now
        self.note: Callable[[Job], None] = lambda job: None
        self._engine: EngineThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Load the weights in a thread; requests get a 503 until that is done."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._load, name="load", daemon=True).start()

    @property
    def status(self) -> str:
        """`loading`, `ok` or `stopping`."""
        if self._is_stopping:
            return "stopping"
        return "loading" if self._engine is None else "ok"

    @property
    def running(self) -> int:
        """Jobs whose prompts are being read, or whose texts are being written."""
        return max(0, self._engine.unfinished - self._engine.waiting) if self._engine else 0

    @property
    def waiting(self) -> int:
        """Jobs that wait for a row."""
        return self._engine.waiting if self._engine else 0

    def drain(self) -> None:
        """Take no more requests; those that are there are finished."""
        self._is_stopping = True

    def stop(self) -> None:
        """End all requests with an error."""
        self._is_stopping = True
        if self._engine is not None:
            self._engine.stop()

    def join(self, timeout_s: float) -> None:
        """Wait for the engine thread after `stop`."""
        if self._engine is not None:
            self._engine.join(timeout_s)

    def check_is_ready(self) -> None:
        """Raise ApiError 503 while the service cannot take a request."""
        if self._is_stopping:
            raise ApiError(503, STOPPING, code="shutting_down")
        if self._engine is None:
            raise ApiError(503, "the model is loading; try again in a second", code="loading")

    def submit(self, request: CompletionRequest, arrival_s: float) -> tuple[Job, Outbox]:
        """Queue a request.

        Raises ApiError: 429 or 503 if it cannot be taken now.
        """
        self.check_is_ready()
        assert self._engine is not None
        self._engine.check_has_room()  # before the job takes memory
        outbox = Outbox(self._engine.cancel)
        job = Job(
            request.model.tokenizer,
            request.prompts,
            request.n,
            request.plan,
            is_scored=request.is_scored,
            is_streamed=request.stream,
            now_s=arrival_s,
            put=outbox.put,
        )
        self._engine.submit(request.model.name, job)
        return job, outbox

    def cancel(self, job: Job) -> None:
        """Drop a job; nothing happens if it has finished."""
        assert self._engine is not None
        self._engine.cancel(job)

    def now_s(self) -> float:
        """The clock of all times that are reported."""
        return self._now()

    def _load(self) -> None:
        try:
            batches = {
                name: Batch(
                    NumpyEngine(model.run.load_weights(), model.run.settings.model),
                    self.limits.max_batch,
                    self._now,
                )
                for name, model in self.models.items()
            }
        except TimecycleError as error:
            self._on_failure(error)
            return
        assert self._loop is not None
        delivery = Delivery(self._loop, self._dispatch, self._now)
        engine = EngineThread(batches, delivery.put, self.limits.max_queue)
        engine.start()
        self._engine = engine
        if self._is_stopping:
            engine.stop()

    def _dispatch(self, updates: Sequence[Update]) -> None:
        for update in updates:
            update.job.put(update)
            if update.is_finished and update.error is None:
                try:
                    self.note(update.job)
                except Exception as error:  # noqa: BLE001 - statistics must not harm an answer
                    print(f"statistics: {error!r}", file=sys.stderr)  # noqa: T201
