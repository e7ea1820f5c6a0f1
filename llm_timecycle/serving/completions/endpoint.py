"""POST /v1/completions: texts, whole or as a stream of events; the same for other forms of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llm_timecycle.serving.completions.fields import Body
from llm_timecycle.serving.completions.outbox import Outbox
from llm_timecycle.serving.completions.request import CompletionRequest, Limits, parse_request
from llm_timecycle.serving.completions.response import Answer, write_json
from llm_timecycle.serving.errors import ApiError
from llm_timecycle.serving.http import (
    answer_json,
    read_body,
    wait_for_disconnect,
    wait_unless_left,
)
from llm_timecycle.serving.models import ServedModel, find_model
from llm_timecycle.serving.service import Service
from llm_timecycle.serving.writing.jobs import Job, Update

PING_S = 15.0
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class AnyAnswer(Protocol):
    """What writes an answer; `completions.response.Answer` is one."""

    def describe_whole(self) -> dict[str, Any]:
        """The answer without a stream, once the job has finished."""

    def describe_update(self, update: Update) -> list[dict[str, Any]]:
        """The chunks of a stream for an update."""

    def describe_end(self) -> list[dict[str, Any]]:
        """The chunks after the last text."""


@dataclass(frozen=True)
class Form:
    """How requests are read and answers are written."""

    parse: Callable[[Body, ServedModel, Limits], CompletionRequest]
    make_answer: Callable[[CompletionRequest, Job, int], AnyAnswer]


COMPLETIONS = Form(parse_request, Answer)


class Completions:
    """The endpoint.

    Args:
        service: the models.
        form: how it reads and writes.
        ping_s: after how many seconds of silence a stream gets a comment.
    """

    def __init__(
        self, service: Service, form: Form = COMPLETIONS, *, ping_s: float = PING_S
    ) -> None:
        self._service, self._form, self._ping_s = service, form, ping_s

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        service = self._service
        arrival_s = service.now_s()
        service.check_is_ready()
        body = await read_body(request, service.limits.max_body_bytes, service.limits.timeout_s)
        model = find_model(service.models, body.get("model"))
        asked, job, outbox = await asyncio.to_thread(self._submit, body, model, arrival_s)
        answer = self._form.make_answer(asked, job, int(time.time()))
        deadline_s = arrival_s + service.limits.timeout_s
        if asked.stream:
            return _Stream(service, asked, job, outbox, answer, deadline_s, self._ping_s)
        try:
            await wait_unless_left(request.receive, _wait_for_end(service, job, outbox, deadline_s))
        finally:
            service.cancel(job)
        return answer_json(await asyncio.to_thread(answer.describe_whole))

    def _submit(
        self, body: Body, model: ServedModel, arrival_s: float
    ) -> tuple[CompletionRequest, Job, Outbox]:
        """Check and queue a request; a long prompt takes a while, so not in the event loop."""
        asked = self._form.parse(body, model, self._service.limits.request)
        return asked, *self._service.submit(asked, arrival_s)


async def _wait_for_end(service: Service, job: Job, outbox: Outbox, deadline_s: float) -> None:
    while True:
        try:
            updates = await outbox.take(max(0.0, deadline_s - service.now_s()))
        except TimeoutError:
            raise _explain_timeout(service) from None
        for update in updates:
            if update.error is not None:
                raise update.error
            if update.is_finished:
                return


def _explain_timeout(service: Service) -> ApiError:
    return ApiError(
        504,
        f"the request took longer than the {service.limits.timeout_s:g} s that this server allows",
        code="timeout",
    )


class _Stream(Response):
    """The answer as server-sent events.

    Tokens that have come together share one, unless each has its log-probabilities.
    """

    def __init__(
        self,
        service: Service,
        request: CompletionRequest,
        job: Job,
        outbox: Outbox,
        answer: AnyAnswer,
        deadline_s: float,
        ping_s: float,
    ) -> None:
        self._service, self._job, self._outbox = service, job, outbox
        self._answer, self._deadline_s, self._ping_s = answer, deadline_s, ping_s
        self._joins = request.plan.top_logprobs is None
        self.status_code, self.background = 200, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing = asyncio.ensure_future(self._write(send))
        leaving = asyncio.ensure_future(wait_for_disconnect(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            self._service.cancel(self._job)
            writing.cancel()
            leaving.cancel()

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        is_finished = False
        while not is_finished:
            content, is_finished = await self._wait_for_events()
            if content or is_finished:
                await send(
                    {"type": "http.response.body", "body": content, "more_body": not is_finished}
                )

    async def _wait_for_events(self) -> tuple[bytes, bool]:
        """What can be sent next, and whether it is the last."""
        left_s = self._deadline_s - self._service.now_s()
        try:
            updates = await self._outbox.take(max(0.0, min(self._ping_s, left_s)))
        except TimeoutError:
            if left_s > self._ping_s:
                return b": ping\n\n", False
            return _write_event(_explain_timeout(self._service).to_json()), True
        if self._joins:
            updates = _join_updates(updates)
        content = bytearray()
        for update in updates:
            if update.error is not None:
                return bytes(content) + _write_event(update.error.to_json()), True
            for chunk in self._answer.describe_update(update):
                content += _write_event(chunk)
            if update.is_finished:
                for chunk in self._answer.describe_end():
                    content += _write_event(chunk)
                return bytes(content) + b"data: [DONE]\n\n", True
        return bytes(content), False


def _join_updates(updates: Sequence[Update]) -> list[Update]:
    """The same with those of each text as one, which stands where the last of them stood."""
    joined: dict[tuple[int | None, int | None], Update] = {}
    for update in updates:
        key = update.prompt, update.text
        earlier = joined.pop(key, None)
        joined[key] = update if earlier is None else earlier.join(update)
    return list(joined.values())


def _write_event(value: object) -> bytes:
    return b"data: " + write_json(value) + b"\n\n"
