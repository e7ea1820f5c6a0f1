"""What clients of all kinds do with HTTP: old versions, other methods, headers, slow bodies."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from llm_timecycle.runs.directory import Run
from llm_timecycle.serving.app import Access, make_app
from llm_timecycle.serving.completions.endpoint import Completions
from llm_timecycle.serving.completions.request import Limits, parse_request
from llm_timecycle.serving.models import open_models
from llm_timecycle.serving.service import Service, ServiceLimits
from tests.serving.servers import RunningServer, run_coroutine, start_server, wait_until_loaded

BODY = b'{"prompt": "a", "max_tokens": 3, "seed": 1}'


def send(server: RunningServer, content: bytes) -> bytes:
    """Everything that comes back before the server closes the connection."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(content)
        answer = b""
        while piece := connection.recv(100_000):
            answer += piece
    return answer


@pytest.mark.parametrize("host", [b"", b"Host: localhost\r\n"])
def test_http_1_0_is_answered_and_closed(server: RunningServer, host: bytes) -> None:
    head = b"POST /v1/completions HTTP/1.0\r\n" + host
    answer = send(server, head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    written = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert written["choices"][0]["text"] == server.write(prompt="a", max_tokens=3, seed=1)


def test_http_1_1_without_a_host_is_refused(server: RunningServer) -> None:
    answer = send(server, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 421 ")


def test_a_connection_is_kept(server: RunningServer) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
    last = b"GET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    answer = send(server, request + b"\r\n" + request + b"\r\n" + last + b"\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.count(b"HTTP/1.1 404 ") == 1


def test_what_is_not_http_is_a_400(server: RunningServer) -> None:
    assert send(server, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_head_has_no_body(server: RunningServer) -> None:
    for path, status in (("/health", 200), ("/v1/models", 200), ("/v1/completions", 405)):
        answer = server.client.head(path)
        assert (answer.status_code, answer.content) == (status, b"")


@pytest.mark.parametrize("path", ["/v1/completions", "/tokenize", "/v1/models", "/health"])
def test_options_without_an_origin_name_the_methods(server: RunningServer, path: str) -> None:
    answer = server.client.options(path)
    assert answer.status_code == 405
    assert answer.headers["allow"] in ("POST", "GET, HEAD", "HEAD, GET")
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_a_slash_at_the_end_leads_to_the_same(server: RunningServer) -> None:
    listed = server.client.get("/v1/models").json()
    assert server.client.get("/v1/models/", follow_redirects=True).json() == listed
    moved = server.client.post("/v1/completions/", content=BODY, follow_redirects=True)
    assert moved.json()["choices"][0]["text"] == server.write(prompt="a", max_tokens=3, seed=1)
    assert server.client.get("/v1/nothing/").status_code == 404


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "text/plain", ""]
)
def test_the_content_type_does_not_matter(server: RunningServer, kind: str) -> None:
    answer = server.post(BODY, headers={"Content-Type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_mark_of_the_encoding_is_read(server: RunningServer, encoding: str) -> None:
    assert server.post(BODY.decode().encode(encoding)).status_code == 200


@pytest.mark.parametrize("depth", [50, 900, 960, 990, 1000, 1100, 5000, 100_000])
def test_deep_nesting_is_no_server_error(server: RunningServer, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    for body in (deep, *(f'{{"{name}": {deep}}}' for name in ("prompt", "suffix", "stop", "x"))):
        assert server.post(body).status_code in (200, 400), body[:20]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 4301, "0." + "1" * 100_000, "NaN"])
def test_numbers_beyond_all_bounds(server: RunningServer, number: str) -> None:
    for name in ("temperature", "max_tokens", "seed", "top_k"):
        answer = server.post(f'{{"prompt": "a", "{name}": {number}}}')
        assert answer.status_code in (200, 400)
        if answer.status_code == 400:
            assert answer.json()["error"]["param"] in (name, None)
        else:
            assert (name, number[:2]) == ("temperature", "0.")


def test_silence_is_filled_with_comments(runs: dict[str, Run]) -> None:
    limits = ServiceLimits(Limits(max_tokens=1_000_000), max_batch=1)
    service = Service(open_models([runs["char"].path]), limits)
    sent: list[bytes] = []

    async def answer() -> None:
        service.start()
        while service.status != "ok":
            await asyncio.sleep(0.01)
        (model,) = service.models.values()
        long = parse_request({"max_tokens": 1_000_000}, model, limits.request)
        first, _ = service.submit(long, service.now_s())  # has the only row

        async def receive() -> Message:
            if not received:
                received.append(True)
                return {"type": "http.request", "body": json.dumps(body).encode()}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message.get("body", b""))
            if sent.count(b": ping\n\n") == 3:
                service.cancel(first)

        received: list[bool] = []
        body = {"prompt": "a", "stream": True, "max_tokens": 4}
        scope = {"type": "http", "method": "POST", "headers": []}
        completions = Completions(service, ping_s=0.02)
        response = await completions.answer(Request(scope, receive))
        await asyncio.wait_for(response(scope, receive, send), 60)
        service.stop()

    run_coroutine(answer())
    assert sent[:4] == [b"", *[b": ping\n\n"] * 3]
    assert sent[-1].endswith(b"data: [DONE]\n\n")


def test_before_the_model_is_loaded_there_is_a_word(runs: dict[str, Run]) -> None:
    service = Service(open_models([runs["char"].path]), ServiceLimits())
    client = TestClient(make_app(service, Access()), base_url="http://localhost")
    health = client.get("/health")  # outside a `with`, the client does not start the service
    assert (health.status_code, health.json()["status"]) == (503, "loading")
    assert health.headers["retry-after"] == "1"
    answer = client.post("/v1/completions", json={"prompt": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "loading")
    assert answer.headers["retry-after"] == "1"
    assert client.get("/v1/models").status_code == 200


def test_a_client_that_leaves_within_its_body_is_no_error(runs: dict[str, Run]) -> None:
    with start_server(runs["char"].path) as running:
        host, port = running.url.removeprefix("http://").split(":")
        for path in (b"/v1/completions", b"/tokenize"):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(b"POST " + path + b" HTTP/1.0\r\nContent-Length: 9\r\n\r\n{")
        assert running.write(prompt="a", seed=1)
        _, printed = running.end()
    assert "Error" not in printed


def test_a_body_that_does_not_come_is_a_408(runs: dict[str, Run]) -> None:
    with start_server(runs["char"].path, "--timeout", "1") as running:
        head = b"POST /v1/completions HTTP/1.0\r\nContent-Length: 100\r\n\r\n{"
        assert b" 408 " in send(running, head).partition(b"\r\n")[0]


def test_a_request_for_which_there_is_no_room_makes_no_job(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr("llm_timecycle.serving.service.Job", lambda *_, **__: made.append(1))
    service = Service(open_models([runs["char"].path]), ServiceLimits(max_queue=0))
    with TestClient(make_app(service, Access()), base_url="http://localhost") as client:
        wait_until_loaded(client)
        answer = client.post("/v1/completions", json={"prompt": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert made == []
