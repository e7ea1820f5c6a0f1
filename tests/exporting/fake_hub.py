"""A Hub in this process, as far as `huggingface_hub` needs one to make, fill and read a repository.

It checks the token, the card's license, and that large files arrive with the hash that they were
announced with. It has no Xet, the storage in which the real Hub keeps large files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from huggingface_hub import ModelCard

from llm_timecycle.exporting.huggingface.licenses import LICENSES

TOKEN = "hf_test"
COMMIT = 40 * "a"


@dataclass
class Repository:
    """A repository as the Hub keeps it."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


@dataclass
class FakeHub:
    """What the Hub has, and what it is to do wrong."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    """Large files by their SHA-256, before they are committed."""
    requests: list[str] = field(default_factory=list)
    """Method and path of each."""
    failures: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """The status and the body to answer with, by a part of the path."""
    tokens: set[str] = field(default_factory=set)
    """Every token that was sent."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def do_GET(self) -> None:
        self._answer(
            (r"/api/models/([^/]+/[^/]+)(?:/revision/\w+)?", self._describe),
            (r"/api/models/([^/]+/[^/]+)/tree/\w+", self._list_files),
            (r"/([^/]+/[^/]+)/resolve/\w+/(.+)", self._send_file),
        )

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self) -> None:
        self._answer((r"/large/(\w+)", self._take_large))

    def do_POST(self) -> None:
        self._answer(
            ("/api/repos/create", self._create),
            ("/api/validate-yaml", self._check_card),
            (r"/api/models/([^/]+/[^/]+)/preupload/main", self._choose_modes),
            (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self._place_large),
            (r"/api/models/([^/]+/[^/]+)/commit/main", self._commit),
        )

    def _answer(self, *routes: tuple[str, Callable[..., None]]) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"{self.command} {path}")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.hub.tokens.add(token)
        for part, (status, body) in self.hub.failures.items():
            if part in path:
                self._send(status, body)
                return
        if token != TOKEN and not path.startswith("/large/"):
            self._send(401, {"error": "Invalid credentials in Authorization header"})
            return
        for pattern, answer in routes:
            if match := re.fullmatch(pattern, path):
                answer(*match.groups())
                return
        self._send(404, {"error": f"the fake has no {self.command} {path}"})

    def _send(self, status: int, body: Any, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repositories:
            already = {"error": "You already created this model repo"}
            self._send(409, {**already, "url": f"{self.hub.url}/{name}"})
            return
        is_private = asked.get("private", False) or asked.get("visibility") == "private"
        self.hub.repositories[name] = Repository(is_private)
        self._send(200, {"url": f"{self.hub.url}/{name}"})

    def _check_card(self) -> None:
        card = ModelCard(json.loads(self.body)["content"])
        if card.data.license in LICENSES:
            self._send(200, {"errors": [], "warnings": []})
        else:
            self._send(400, {"errors": [{"message": '"license" must be one of ...'}]})

    def _choose_modes(self, name: str) -> None:
        def choose(path: str) -> dict[str, Any]:
            mode = "lfs" if path.endswith(".safetensors") else "regular"
            return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}

        files = json.loads(self.body)["files"]
        self._send(200, {"files": [choose(file["path"]) for file in files]})

    def _place_large(self, name: str) -> None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.hub.url}/large/{each['oid']}"}}}
            for each in json.loads(self.body)["objects"]
        ]
        self._send(200, {"transfer": "basic", "objects": objects})

    def _take_large(self, oid: str) -> None:
        is_whole = hashlib.sha256(self.body).hexdigest() == oid
        if is_whole:
            self.hub.large[oid] = self.body
        self._send(200 if is_whole else 400, {})

    def _commit(self, name: str) -> None:
        repository = self.hub.repositories[name]
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                repository.messages.append(value["summary"])
            elif line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            else:
                repository.files[value["path"]] = self.hub.large[value["oid"]]
        self._send(200, {"commitUrl": f"{self.hub.url}/{name}", "commitOid": COMMIT})

    def _describe(self, name: str) -> None:
        repository = self.hub.repositories[name]
        self._send(200, {"id": name, "sha": COMMIT, "private": repository.private, "siblings": []})

    def _list_files(self, name: str) -> None:
        files = self.hub.repositories[name].files
        self._send(
            200,
            [
                {"type": "file", "path": path, "size": len(content), "oid": _hash(content)}
                for path, content in files.items()
            ],
        )

    def _send_file(self, name: str, path: str) -> None:
        content = self.hub.repositories[name].files[path]
        self._send(200, content, ETag=f'"{_hash(content)}"', X_Repo_Commit=COMMIT)


def _hash(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def start_hub() -> Iterator[FakeHub]:
    """A Hub on a free port of this machine, until the end of the context."""
    hub = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
