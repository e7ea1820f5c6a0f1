"""Who may ask: host names, origins, the API key."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_timecycle.cli.main import main
from llm_timecycle.runs.directory import Run
from tests.serving.servers import RunningServer, start_server

KEY = "sesame-42"


@pytest.fixture(scope="module")
def guarded(runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    file = tmp_path_factory.mktemp("key") / "key.txt"
    file.write_text(f"{KEY}\nnot this\n")
    with start_server(
        runs["char"].path,
        *("--api-key-file", file, "--cors-origin", "https://example.org"),
        LLM_TIMECYCLE_SERVE_ALLOWED_HOST="writer.lan other.lan",
    ) as running:
        yield running


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:80", "192.168.1.5"]
)
def test_names_of_this_machine_and_addresses_are_known(server: RunningServer, host: str) -> None:
    assert server.client.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "a@localhost"])
def test_other_names_are_refused(server: RunningServer, host: str) -> None:
    for path in ("/v1/models", "/health", "/"):
        answer = server.client.get(path, headers={"Host": host})
        assert answer.status_code == 421
        assert answer.json()["error"]["code"] == "unknown_host"


def test_further_names_can_be_allowed(guarded: RunningServer) -> None:
    for host, status in (("writer.lan:8080", 200), ("other.lan", 200), ("third.lan", 421)):
        answer = guarded.client.get("/v1/models", headers={"Host": host})
        assert answer.status_code == status


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_pages_of_other_origins_are_refused(server: RunningServer, origin: str) -> None:
    answer = server.post({"prompt": "a"}, headers={"Origin": origin})
    assert answer.status_code == 403
    assert not any("access-control" in name for name in answer.headers)


def test_the_own_page_may_ask(server: RunningServer) -> None:
    assert server.post({"prompt": "a"}, headers={"Origin": server.url}).status_code == 200


def test_an_allowed_origin_gets_its_headers(guarded: RunningServer) -> None:
    origin = {"Origin": "https://example.org"}
    asked = guarded.client.options(
        "/v1/completions",
        headers={
            **origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type",
        },
    )
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "https://example.org"
    headers = {**origin, "Authorization": f"Bearer {KEY}"}
    answer = guarded.post({"prompt": "a"}, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://example.org"


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xe4"]
)
def test_without_the_key_nothing_is_written(guarded: RunningServer, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given.encode("latin-1")}
    for path in ("/v1/completions", "/tokenize"):
        answer = guarded.post({"prompt": "a"}, path, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
    assert guarded.client.get("/props", headers=headers).status_code == 401


def test_with_the_key_everything_is(guarded: RunningServer) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    assert guarded.post({"prompt": "a"}, headers=headers).status_code == 200


def test_health_and_models_are_open(guarded: RunningServer) -> None:
    for path in ("/health", "/v1/models", "/v1/models/char"):
        assert guarded.client.get(path).status_code == 200


def test_a_key_may_come_from_the_environment(runs: dict[str, Run]) -> None:
    with start_server(runs["char"].path, LLM_TIMECYCLE_SERVE_API_KEY=KEY) as running:
        assert running.client.get("/props").status_code == 401


def test_nothing_of_a_request_is_logged_unescaped(runs: dict[str, Run]) -> None:
    with start_server(runs["char"].path) as running:
        running.client.get("/%1b[31mred%0anew line")
        running.refuse(404, {"model": "\x1b[31m\n", "prompt": "a"})
        _, printed = running.end()
    assert "\x1b" not in printed
    assert printed.strip() in ("", "Stopped.")


def test_no_path_reaches_a_file(server: RunningServer) -> None:
    for path in ("/../../app.py", "/%2e%2e/app.py", "/..%2f..%2fetc/passwd", "/app.py"):
        assert server.client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("arguments", "variable", "message"),
    [
        (["--api-key", "a", "--api-key-file", "FILE"], None, "received both"),
        (["--api-key-file", "none.txt"], None, "--api-key-file none.txt: cannot read it: No such"),
        (["--api-key-file", "FILE"], None, "key.txt: expected a key of printable ASCII characters"),
        (["--api-key", " "], None, "--api-key: expected a key"),
        (["--api-key", "schlüssel"], None, "found other characters"),
        ([], "LLM_TIMECYCLE_SERVE_API_KEY", "LLM_TIMECYCLE_SERVE_API_KEY is empty"),
        ([], "LLM_TIMECYCLE_SERVE_API_KEY_FILE", "LLM_TIMECYCLE_SERVE_API_KEY_FILE is empty"),
    ],
)
def test_a_key_that_cannot_be_used_is_said(
    runs: dict[str, Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    variable: str | None,
    message: str,
) -> None:
    file = tmp_path / "key.txt"
    file.write_text("\n")
    named = [str(file) if word == "FILE" else word for word in arguments]
    if variable is not None:
        monkeypatch.setenv(variable, "")
    monkeypatch.setattr(sys, "argv", ["llm-timecycle", "serve", str(runs["char"].path), *named])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(("host", "is_open"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_an_open_address_without_a_key_gets_a_warning(
    runs: dict[str, Run], host: str, is_open: bool
) -> None:
    with start_server(runs["char"].path, "--host", host) as running:
        _, printed = running.end()
    assert ("no API key is set" in printed) == is_open
