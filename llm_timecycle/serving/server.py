"""The process: one uvicorn server, and what Ctrl-C and SIGTERM do.

Ctrl-C ends open streams with an error that says so, and the process within two seconds. SIGTERM
takes no more requests and finishes those that are there.
"""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from llm_timecycle.errors import UsageError
from llm_timecycle.serving.service import Service

STOP_S = 1
BACKLOG = 2048


class Server(uvicorn.Server):
    """A uvicorn server that tells the service when it is to stop.

    Args:
        app: what answers.
        service: what is told.
        drain_s: how long SIGTERM waits for requests that are there.
        announce: called once connections are accepted.
    """

    def __init__(
        self, app: ASGIApp, service: Service, drain_s: int, announce: Callable[[], None]
    ) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            loop="asyncio",
            log_config=None,  # setting up its own costs 10 ms; warnings go to stderr anyway
            timeout_graceful_shutdown=drain_s,
        )
        super().__init__(config)
        self._service, self._announce = service, announce

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(None if sockets is None else list(sockets))
        if self.started:
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End: at once for Ctrl-C, after the last answer for SIGTERM."""
        if sig == signal.SIGTERM:
            self._service.drain()
        else:
            self.config.timeout_graceful_shutdown = STOP_S
            self._service.stop()
        super().handle_exit(sig, frame)

    def end(self) -> None:
        """End at once, from any thread."""
        self._service.stop()
        self.should_exit = True


def bind_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on this address; port 0 takes a free one.

    Raises UsageError if the address is not there or in use.
    """
    listener = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        # Only with its protocol named does asyncio send at once (TCP_NODELAY): 40 ms each.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        if listener is not None:
            listener.close()
        raise UsageError(f"cannot listen on {host}, port {port}: {_explain(error)}") from error
    return listener


def _explain(error: OSError | UnicodeError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return "another program uses this port. Choose another one; 0 takes a free one"
    if number in {errno.EACCES, errno.EPERM}:
        return "ports below 1024 need special rights. Choose a port from 1024 to 65535"
    if isinstance(error, (socket.gaierror, UnicodeError)) or number == errno.EADDRNOTAVAIL:
        return (
            "this is no address of this machine. 127.0.0.1 is for programs on this machine, "
            "0.0.0.0 for other machines, too"
        )
    return str(error.strerror if isinstance(error, OSError) else error)
