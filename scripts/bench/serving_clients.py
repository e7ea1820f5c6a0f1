"""Many clients of a completion server in one thread, cheap enough to leave the server its cores.

Sockets and a selector; answers are not parsed, their events are counted. A client sends a request,
waits for the end of its stream, and sends the next.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

EVENT, DONE, END = b"\ndata: ", b"\ndata: [DONE]\n\n", b"\r\n0\r\n\r\n"
WRITTEN = re.compile(rb'"completion_tokens": ?(\d+)')


@dataclass(frozen=True)
class Load:
    """What each client asks for."""

    prompt: Sequence[int]
    tokens: int
    requests: int = 1
    """Of each client; 0 goes on until those of the others are answered."""
    wait_s: float = 0.0
    """Before the first one."""


@dataclass
class Times:
    """What clients measured."""

    first_s: list[float] = field(default_factory=list)
    """From each request to its first event."""
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """Of each arrival of text but the first: when, and seconds after the one before."""
    asked: list[float] = field(default_factory=list)
    """When each request was sent."""
    tokens: int = 0
    events: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Of this process."""


class _Client:
    """A connection, and what is known of the answer that comes through it."""

    def __init__(self, port: int, load: Load, seed: int, times: Times) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due_s = time.perf_counter() + load.wait_s
        self._load, self._seed, self._times = load, seed, times
        self._sent = 0
        self._answer = bytearray()

    def send(self) -> None:
        """Send the next request."""
        body = {
            "prompt": list(self._load.prompt),
            "max_tokens": self._load.tokens,
            "seed": self._seed * 1000 + self._sent,
            "stream": True,
            "stream_options": {"include_usage": True},
            "ignore_eos": True,
        }
        content = json.dumps(body).encode()
        head = (
            "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._sent += 1
        self._last_s: float | None = None
        self._answer.clear()
        self._asked_s = time.perf_counter()
        self._times.asked.append(self._asked_s)
        self.connection.sendall(head.encode() + content)

    def receive(self) -> bool:
        """Count what has arrived; whether the client has something left to do."""
        data, now_s, times = self.connection.recv(1 << 18), time.perf_counter(), self._times
        if not data:
            raise ConnectionError("the server closed a connection in the middle of an answer")
        before = max(0, len(self._answer) + 1 - len(EVENT))
        self._answer += data
        if not self._answer.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"the server refused a request: {bytes(self._answer)!r}")
        if self._answer.find(EVENT, before) >= 0:
            if self._last_s is None:
                times.first_s.append(now_s - self._asked_s)
            else:
                times.gaps.append((now_s, now_s - self._last_s))
            self._last_s = now_s
        if not self._answer.endswith(END):
            return True
        written = WRITTEN.search(self._answer)
        if written is None or DONE not in self._answer:
            raise ConnectionError(f"an answer ended early: {bytes(self._answer[-300:])!r}")
        times.tokens += int(written[1])
        times.events += self._answer.count(EVENT) - 2  # token counts and [DONE]
        if self._sent == self._load.requests:
            return False
        self.send()
        return True


def measure(port: int, loads: Sequence[Load]) -> list[Times]:
    """Send the load of each client; what each of them measured.

    Raises ConnectionError if an answer is not whole.
    """
    each = [Times() for _ in loads]
    unfinished = sum(load.requests > 0 for load in loads)
    clients = [_Client(port, load, number, each[number]) for number, load in enumerate(loads)]
    waiting = sorted(clients, key=lambda client: client.due_s)
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    with selectors.DefaultSelector() as selector:
        while unfinished:
            while waiting and waiting[0].due_s <= time.perf_counter():
                client = waiting.pop(0)
                selector.register(client.connection, selectors.EVENT_READ, client)
                client.send()
            wait_s = max(0.0, waiting[0].due_s - time.perf_counter()) if waiting else None
            for key, _ in selector.select(wait_s):
                if not key.data.receive():
                    selector.unregister(key.fileobj)
                    unfinished -= 1
    for client in clients:
        client.connection.close()
    for times in each:
        times.wall_s = time.perf_counter() - start_s
        times.cpu_s = time.process_time() - start_cpu_s
    return each


def join_times(each: Sequence[Times]) -> Times:
    """The times of clients that worked at the same time, as those of one."""
    return Times(
        [s for times in each for s in times.first_s],
        [gap for times in each for gap in times.gaps],
        [s for times in each for s in times.asked],
        sum(times.tokens for times in each),
        sum(times.events for times in each),
        each[0].wall_s,
        each[0].cpu_s,
    )
