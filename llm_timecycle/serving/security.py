"""Who may ask: names of the host, origins of pages, the API key. Plain ASGI, in this order.

A page on the web can make a browser send requests to a server on the same machine. If its name
resolves to 127.0.0.1 (DNS rebinding), the browser takes the server for that page's own: so the name
in `Host` must be one that is meant. A request that a page of another origin sends is refused, too.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from llm_timecycle.serving.errors import ApiError, show
from llm_timecycle.serving.http import answer_error

LOCAL_NAMES = ("localhost",)
OPEN_PATHS = ("/health", "/v1/models", "/openapi.json")
ANY = "*"


class HostCheck:
    """Refuses requests for host names that are not known; addresses are always known.

    Args:
        app: what is protected.
        names: the names beside localhost; `*` allows all.
        origins: pages of other origins that may send requests; `*` allows all.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str], origins: Sequence[str] = ()) -> None:
        self._app = app
        self._names = {name.lower() for name in (*LOCAL_NAMES, *names)}
        self._origins = set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host, origin = headers.get("host", ""), headers.get("origin")
            # HTTP/1.0, as checks of health speak it, needs no Host; a browser always sends one.
            is_nameless = scope["http_version"] == "1.0" and "host" not in headers
            error = None
            if not is_nameless and not self._is_known(host):
                error = ApiError(
                    421,
                    f"Host: {show(host)} is not a name of this server; whoever runs it can allow "
                    f"the name",
                    code="unknown_host",
                )
            elif origin is not None and not self._is_allowed(origin, host):
                error = ApiError(
                    403,
                    f"Origin: requests from pages of {show(origin)} are not allowed; whoever runs "
                    f"the server can allow the origin",
                    code="origin_not_allowed",
                )
            if error is not None:
                await answer_error(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_known(self, host: str) -> bool:
        if ANY in self._names:
            return True
        name = _find_name(host)
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True

    def _is_allowed(self, origin: str, host: str) -> bool:
        if ANY in self._origins or origin in self._origins:
            return True
        try:
            return urlsplit(origin).netloc.lower() == host.lower()
        except ValueError:
            return False


def _find_name(host: str) -> str | None:
    """The name or address in a `Host` header; None if it is malformed.

    >>> [_find_name(host) for host in ("localhost:80", "[::1]:80", "127.0.0.1", "a@b", "")]
    ['localhost', '::1', '127.0.0.1', None, None]
    """
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.netloc != host or parts.username is not None or not parts.hostname:
        return None
    return parts.hostname.lower()


class KeyCheck:
    """Refuses requests without the API key, which is compared in constant time.

    Args:
        app: what is protected.
        key: the key; None lets everyone in.
        open_paths: what needs no key.
    """

    def __init__(self, app: ASGIApp, key: str | None, open_paths: Sequence[str] = ()) -> None:
        self._app = app
        self._key = None if key is None else key.encode()
        self._open_paths = {*OPEN_PATHS, *open_paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http" and self._key is not None and not self._is_open(scope):
            kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            given_key = given.strip().encode("latin-1", "replace")
            is_right = hmac.compare_digest(given_key, self._key)
            if kind.lower() != "bearer" or not is_right:
                error = ApiError(
                    401,
                    "Authorization: the API key is missing or wrong; expected Bearer KEY",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
                await answer_error(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path: str = scope["path"]
        return path in self._open_paths or path.startswith("/v1/models/")
