"""Servers in processes, as a user starts them, and clients of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

PROGRAM = [sys.executable, "-m", "llm_timecycle", "serve"]


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What it returns, from a loop in another thread: the tests of the page keep one in this."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@dataclass
class RunningServer:
    """A server, ready for requests."""

    process: subprocess.Popen[bytes]
    url: str
    client: httpx2.Client = field(repr=False)
    log: Path
    """What it prints on stderr."""

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
        """Send a signal; the exit status, and what was printed after the first line."""
        self.process.send_signal(number)
        status = self.process.wait(timeout=20)
        return status, self.log.read_text(encoding="utf-8").partition("\n")[2]


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
    """A server on a free port, or on this one, until the end of the block.

    It must not have printed a traceback.
    """
    with TemporaryDirectory() as folder:
        log = Path(folder) / "stderr.txt"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*PROGRAM, *map(str, arguments), "--port", str(port)],
                stderr=stderr,
                env={**os.environ, **environment},
            )
        try:
            url = wait_for_address(process, log)
            kept = httpx2.Limits(keepalive_expiry=1.0)  # well before the server lets go
            with httpx2.Client(base_url=url, timeout=60, trust_env=False, limits=kept) as client:
                wait_until_loaded(client)
                yield RunningServer(process, url, client, log)
                assert "Traceback" not in log.read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait()


def wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    while True:
        has_ended = process.poll() is not None
        printed = log.read_text(encoding="utf-8")
        if found := re.search(r"at (http://\S+); Ctrl-C stops\.\n", printed):
            return found[1]
        assert not has_ended, printed
        time.sleep(0.01)


def wait_until_loaded(client: httpx2.Client) -> None:
    for _ in range(1000):
        if client.get("/health").status_code == 200:
            return
        time.sleep(0.01)
    raise AssertionError("the server does not load")
