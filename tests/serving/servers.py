"""Servers in processes, as a user starts them, and clients of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

PROGRAM = [sys.executable, "-m", "llm_timecycle", "serve"]


@dataclass
class RunningServer:
    """A server, ready for requests."""

    process: subprocess.Popen[str]
    url: str
    client: httpx2.Client = field(repr=False)

    def post(self, body: object, path: str = "/v1/completions", **kinds: Any) -> httpx2.Response:
        if isinstance(body, (bytes, str)):
            return self.client.post(path, content=body, **kinds)
        return self.client.post(path, json=body, **kinds)

    def complete(self, **body: Any) -> dict[str, Any]:
        """The answer to a completion that succeeds."""
        answer = self.post(body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def write(self, **body: Any) -> str:
        """The text of the only choice."""
        (choice,) = self.complete(**body)["choices"]
        return choice["text"]

    def stream(self, **body: Any) -> list[dict[str, Any]]:
        """The chunks of a stream that ends well."""
        answer = self.post({**body, "stream": True})
        assert answer.status_code == 200, answer.text
        events = read_events(answer.text)
        assert events[-1] == "[DONE]"
        return [json.loads(event) for event in events[:-1]]

    def refuse(self, status: int, body: object, **kinds: Any) -> dict[str, Any]:
        """The error of a request that is refused."""
        answer = self.post(body, **kinds)
        assert answer.status_code == status, answer.text
        assert list(answer.json()) == ["error"]
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        return answer.json()["error"]

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; the exit status and what was printed."""
        self.process.send_signal(number)
        _, printed = self.process.communicate(timeout=20)
        return self.process.returncode, printed


def read_events(text: str) -> list[str]:
    """The data of each event of a stream."""
    assert text.endswith("\n\n")
    events = [event for event in text.split("\n\n") if event and not event.startswith(":")]
    assert all(event.startswith("data: ") for event in events)
    return [event.removeprefix("data: ") for event in events]


@contextmanager
def start_server(
    *arguments: str | Path, port: int = 0, **environment: str
) -> Iterator[RunningServer]:
    """A server on a free port, or on this one, until the end of the block."""
    process = subprocess.Popen(
        [*PROGRAM, *map(str, arguments), "--port", str(port)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r"at (http://\S+);", line)
        assert found, line + process.stderr.read()
        with httpx2.Client(base_url=found[1], timeout=60, trust_env=False) as client:
            wait_until_loaded(client)
            yield RunningServer(process, found[1], client)
    finally:
        process.kill()
        process.communicate()


def wait_until_loaded(client: httpx2.Client) -> None:
    for _ in range(1000):
        if client.get("/health").status_code == 200:
            return
    raise AssertionError("the server does not load")
