"""The application: which path answers what, and every error as one JSON object."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from llm_timecycle.serving.completions.endpoint import Completions, Form
from llm_timecycle.serving.endpoints import Endpoints
from llm_timecycle.serving.errors import ApiError
from llm_timecycle.serving.http import ClientLeft, answer_error, answer_json
from llm_timecycle.serving.security import HostCheck, KeyCheck
from llm_timecycle.serving.service import Service

if TYPE_CHECKING:
    from llm_timecycle.serving.chat.templates import ChatTemplate
    from llm_timecycle.serving.statistics import Statistics

PAGE = Path(__file__).parent / "page"
PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    # Trusted Types without a policy: no text can become HTML.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PAGE_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
LEFT = 499  # a status that no client sees, because it has gone
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Access:
    """Who may use the server."""

    host_names: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    api_key: str | None = None


def make_app(
    service: Service,
    access: Access,
    *,
    statistics: Statistics | None = None,
    page: Path | None = None,
    chat_template: ChatTemplate | None = None,
) -> ASGIApp:
    """The application.

    Args:
        service: the models; the application starts it.
        access: who may ask.
        statistics: what `/metrics` answers; None turns it off.
        page: the directory of the page; None turns it off.
        chat_template: how dialogues are written; None turns chat off.
    """
    pages = _list_pages(page) if page is not None else []

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = Starlette(
        routes=[*_list_routes(service, statistics, chat_template), *pages],
        exception_handlers={
            ApiError: _answer_api_error,
            HTTPException: _answer_http_error,
            ClientLeft: _answer_nobody,
            Exception: _answer_internal_error,
        },
        lifespan=lifespan,
    )
    open_paths = [route.path for route in pages if isinstance(route, Route)]
    protected: ASGIApp = KeyCheck(app, access.api_key, open_paths)
    if access.cors_origins:
        protected = CORSMiddleware(
            protected,
            allow_origins=access.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
        )
    return HostCheck(protected, access.host_names, access.cors_origins)


def _list_routes(
    service: Service, statistics: Statistics | None, template: ChatTemplate | None
) -> Sequence[BaseRoute]:
    endpoints, completions = Endpoints(service, template), Completions(service)

    def describe() -> Response:  # imported late: a server starts sooner without it
        from llm_timecycle.serving.openapi.document import describe_api

        has = {"has_metrics": statistics is not None, "has_chat": template is not None}
        return answer_json(describe_api(service, **has))

    async def answer_description(request: Request) -> Response:
        return await asyncio.to_thread(describe)

    routes = [
        Route("/v1/completions", completions.answer, methods=["POST"]),
        _route_chat(service, endpoints, template),
        Route("/v1/models", endpoints.models),
        Route("/v1/models/", endpoints.models),
        Route("/v1/models/{name:path}", endpoints.model),
        Route("/health", endpoints.health),
        Route("/props", endpoints.props),
        Route("/openapi.json", answer_description),
    ]
    for prefix in ("", "/v1"):
        routes += [
            Route(f"{prefix}/tokenize", endpoints.tokenize, methods=["POST"]),
            Route(f"{prefix}/detokenize", endpoints.detokenize, methods=["POST"]),
            Route(f"{prefix}/tokenizer_info", endpoints.tokenizer_info),
        ]
    if statistics is not None:
        routes.append(Route("/metrics", statistics.answer))
    return routes


def _route_chat(service: Service, endpoints: Endpoints, template: ChatTemplate | None) -> BaseRoute:
    path = "/v1/chat/completions"
    if template is None:
        return Route(path, endpoints.refuse_chat, methods=["GET", "POST"])
    from llm_timecycle.serving.chat.request import parse_chat
    from llm_timecycle.serving.chat.response import ChatAnswer

    form = Form(partial(parse_chat, template=template), ChatAnswer)
    return Route(path, Completions(service, form).answer, methods=["POST"])


def _list_pages(directory: Path) -> list[BaseRoute]:
    """A route for each file of the page, which is read now: no request reaches the disk."""
    routes: list[BaseRoute] = []
    for file in sorted(directory.rglob("*")):
        if not file.is_file() or file.name.startswith(".") or file.suffix in (".py", ".pyc"):
            continue
        path = file.relative_to(directory).as_posix()
        guessed = PAGE_TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0]
        answer = _make_page(file.read_bytes(), guessed or "application/octet-stream")
        routes.append(Route("/" if path == "index.html" else f"/{path}", answer))
    return routes


def _make_page(content: bytes, media_type: str) -> Endpoint:
    async def answer_page(request: Request) -> Response:
        return Response(content, headers=PAGE_HEADERS, media_type=media_type)

    return answer_page


async def _answer_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return answer_error(error)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {
        404: "there is nothing at this path; /openapi.json lists what there is",
        405: f"{request.method} is not allowed here",
    }.get(error.status_code, str(error.detail))
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
    return answer_error(ApiError(error.status_code, message, code=code, headers=error.headers))


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=LEFT)


async def _answer_internal_error(request: Request, error: Exception) -> Response:
    return answer_error(ApiError(500, "internal error; see the server's messages"))
