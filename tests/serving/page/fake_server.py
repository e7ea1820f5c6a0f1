"""A completion server that tests can hold and break: what no real one does when it is told to."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from llm_timecycle.serving.app import PAGE, PAGE_HEADERS

WAIT_S = 10.0
MOST_TOKENS = 400
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".js": "text/javascript; charset=utf-8",
}

WORDS = ["the", "sea", "was", "calm", "and", "old", "ships", "slept", "there", "again"]
PROBABILITIES = [0.4, 0.2, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01]
SETTINGS = {
    **{"max_tokens": 5, "temperature": 0.8, "top_p": 1.0, "top_k": None, "min_p": 0.0},
    **{"typical_p": 1.0, "repetition_penalty": 1.0, "presence_penalty": 0.0},
    **{"frequency_penalty": 0.0, "dry_multiplier": 0.8, "dry_allowed_length": 2, "stop": []},
    "seed": None,
}
PROPS = {
    **{"id": "tales", "level": "word", "word_split": "unicode", "generation": SETTINGS},
    **{"documents": "file", "does_eos_end_documents": True, "seed_digits": None},
}


class FakeServer(ThreadingHTTPServer):
    """Writes the words in order, beginning at the seed; without a seed, at the next word each time.

    Attributes:
        words: what is written; a token is likely by its place in `WORDS`.
        tokens_until_break: after so many tokens, the connection is cut; None for never.
        eos_at: the token that is `<eos>`; None for none.
        error: what every completion is answered with: the status, and the `error` object.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tokens_until_break: int | None = None
        self.eos_at: int | None = None
        self.words = WORDS
        self.error: tuple[int, dict[str, Any]] | None = None
        self._count = 0
        self._permits: threading.Semaphore | None = None
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def __enter__(self) -> FakeServer:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._permits is not None:
            self.release()
        self.shutdown()
        self.server_close()

    def hold(self) -> None:
        """From now on, write only as many tokens as are released."""
        self._permits = threading.Semaphore(0)

    def release(self, tokens: int = 100) -> None:
        """Let this many tokens go."""
        assert self._permits is not None
        self._permits.release(tokens)

    def write(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The chunks of an answer."""
        seed = int(body["seed"]) if body["seed"] != -1 else self._count
        self._count += 1
        space = "" if (body["prompt"] or " ")[-1].isspace() else " "
        for i in range(body["max_tokens"]):
            if self._permits is not None and not self._permits.acquire(timeout=WAIT_S):
                return
            is_end = i == self.eos_at
            word = "<eos>" if is_end else self.words[(seed + i) % len(self.words)]
            is_last = is_end or i + 1 == body["max_tokens"]
            reason = "stop" if is_end else "length" if is_last else None
            yield describe_chunk(word, "" if is_end else space + word, reason)
            space = " "
            if is_last:
                break
        metrics = {
            **{"time_to_first_token_ms": 12.5, "queue_time_ms": 2.0, "prompt_time_ms": 10.5},
            **{"mean_itl_ms": 3.0, "tokens_per_second": 333.3},
            "stages_ms": {"step": 2.0, "sampling": 0.75, "text": 0.25},
        }
        yield {"choices": [], "metrics": metrics}


def describe_chunk(word: str, text: str, reason: str | None) -> dict[str, Any]:
    """One token, its place among the likeliest ten given by its place in the list of words."""
    top = {w: math.log(p) for w, p in zip(WORDS, PROBABILITIES, strict=True)}
    top.setdefault(word, -7.0)
    logprobs = {
        **{"tokens": [word], "token_logprobs": [top[word]]},
        **{"top_logprobs": [top], "text_offset": [0]},
    }
    return {"choices": [{"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}]}


class Handler(BaseHTTPRequestHandler):
    """The endpoints that the page uses, and the tests' own modules under /tests/."""

    server: FakeServer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """The page, what it asks for, and the modules with the tests."""
        path = self.path.partition("?")[0]
        name = path.removeprefix("/tests").lstrip("/") or "index.html"
        folder = Path(__file__).parent if path.startswith("/tests/") else PAGE
        if (folder / name).suffix in TYPES and (folder / name).is_file():
            kind = TYPES[(folder / name).suffix]
            self._send(200, (folder / name).read_bytes(), kind, PAGE_HEADERS)
        elif path == "/props":
            self._send_json(200, {"models": [PROPS], "limits": {"max_tokens": MOST_TOKENS}})
        else:
            self._send_json(404, {"error": {"message": "not here"}})

    def do_POST(self) -> None:
        """Completions and counts of tokens."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self._send_json(200, {"count": len(body["prompt"].split()), "tokens": []})
        elif self.server.error is not None:
            status, error = self.server.error
            self._send_json(status, {"error": error})
        else:
            self._stream(body)

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for i, chunk in enumerate(self.server.write(body)):
                if i == self.server.tokens_until_break:
                    return
                self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass  # the client has left

    def _send_json(self, status: int, value: object) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, content: bytes, content_type: str, headers: Any = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
