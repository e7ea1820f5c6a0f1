"""Answers and bodies in JSON, and how a client that has gone away is noticed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from llm_timecycle.serving.completions.response import write_json
from llm_timecycle.serving.errors import ApiError, show

Result = TypeVar("Result")


class ClientLeft(Exception):  # noqa: N818 - not an error: nobody waits for an answer any more
    """The client has closed its connection."""


def answer_json(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer with a JSON body."""
    return Response(write_json(content), status, headers, media_type="application/json")


def answer_error(error: ApiError) -> Response:
    """An answer that says what is wrong."""
    return answer_json(error.to_json(), error.status, error.headers)


async def read_body(request: Request, max_bytes: int, timeout_s: float) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        ApiError: 413 if it is too large, 408 if it does not arrive in time, 400 if it is no JSON
            object.
        ClientLeft: it breaks off.
    """
    try:
        async with asyncio.timeout(timeout_s):
            content = await _receive(request, max_bytes)
    except ClientDisconnect:
        raise ClientLeft from None
    except TimeoutError:
        raise ApiError(
            408, f"the body did not arrive within {timeout_s:g} s", code="timeout"
        ) from None
    try:
        body = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ApiError(
            400, f"the body is not JSON in UTF-8: {reason}", code="invalid_json"
        ) from error
    if not isinstance(body, dict):
        raise ApiError(
            400, f"the body is {show(body)}; expected a JSON object", code="invalid_json"
        )
    return body


async def _receive(request: Request, max_bytes: int) -> bytearray:
    too_large = ApiError(
        413,
        f"the body is larger than the {max_bytes:,} bytes that this server reads",
        code="body_too_large",
    )
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > max_bytes):
        raise too_large
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > max_bytes:
            raise too_large
    return content


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has gone; only after its body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def wait_unless_left(receive: Receive, awaitable: Awaitable[Result]) -> Result:
    """The result, or ClientLeft if the client goes first."""
    wanted = asyncio.ensure_future(awaitable)
    leaving = asyncio.ensure_future(wait_for_disconnect(receive))
    try:
        await asyncio.wait({wanted, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not wanted.done():
            raise ClientLeft
        return wanted.result()
    finally:
        for task in (wanted, leaving):
            task.cancel()
