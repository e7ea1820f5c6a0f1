"""The process: how it starts, how it ends, and clients that leave or do not read."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from llm_timecycle.cli.main import main
from llm_timecycle.runs.directory import Run
from tests.serving.servers import PROGRAM, RunningServer, read_events, start_server

LONG = {"prompt": "a", "max_tokens": 100_000}


PATIENT = ("--max-tokens", "100000", "--max-batch", "2")


@pytest.fixture(scope="module")
def patient(runs: dict[str, Run]) -> Iterator[RunningServer]:
    """A server of long texts that goes on after the test."""
    with start_server(runs["char"].path, *PATIENT) as running:
        yield running


@pytest.fixture
def ending(runs: dict[str, Run]) -> Iterator[RunningServer]:
    """The same, for a test that ends it."""
    with start_server(runs["char"].path, *PATIENT) as running:
        yield running


def wait_for(is_true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_true():
            return
        time.sleep(0.01)
    raise AssertionError("it does not happen")


def read_health(running: RunningServer) -> dict:
    return running.client.get("/health").json()


def send_request(running: RunningServer, body: dict) -> socket.socket:
    """A connection on which a request has been sent and nothing is read; it takes little in."""
    host, port = running.url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def test_it_starts_without_tensorflow(runs: dict[str, Run]) -> None:
    code = (
        "import sys, llm_timecycle.cli.serve, llm_timecycle.serving.app, "
        "llm_timecycle.serving.server, llm_timecycle.serving.service\n"
        "print({'tensorflow', 'keras', 'prometheus_client'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_row(patient: RunningServer, stream: bool) -> None:
    connection = send_request(patient, {**LONG, "stream": stream})
    wait_for(lambda: read_health(patient)["running"] == 1)
    connection.close()
    wait_for(lambda: read_health(patient)["running"] == 0)
    assert len(patient.write(prompt="b", max_tokens=5)) == 5  # by the only row


def test_a_reader_who_does_not_read_is_dropped(patient: RunningServer) -> None:
    connection = send_request(patient, {**LONG, "stream": True, "logprobs": 5})
    wait_for(lambda: read_health(patient)["running"] == 1)
    assert len(patient.write(prompt="b", max_tokens=50)) == 50
    wait_for(lambda: read_health(patient)["running"] == 0)
    connection.close()


def test_ctrl_c_ends_streams_with_a_word(ending: RunningServer) -> None:
    with ending.client.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as answer:
        pieces = answer.iter_text()
        text = next(pieces)
        start_s = time.monotonic()
        ending.process.send_signal(signal.SIGINT)
        text += "".join(pieces)
    *_, last = read_events(text)
    assert json.loads(last)["error"]["code"] == "shutting_down"
    ending.process.wait(timeout=20)
    assert time.monotonic() - start_s < 10
    assert ending.process.returncode == 130


def test_sigterm_finishes_what_is_there(ending: RunningServer) -> None:
    answers: list[str] = []
    body = {"prompt": "a", "max_tokens": 3000, "seed": 1}
    writer = threading.Thread(target=lambda: answers.append(ending.write(**body)))
    writer.start()
    wait_for(lambda: read_health(ending)["running"] == 1)
    status, _ = ending.end(signal.SIGTERM)
    writer.join()
    assert len(answers[0]) == 3000
    assert status in (-signal.SIGTERM, 143)


def test_a_full_queue_is_a_429(runs: dict[str, Run]) -> None:
    with start_server(
        runs["char"].path, *("--max-tokens", "100000", "--max-batch", "1", "--max-queue", "1")
    ) as running:
        first = send_request(running, LONG)
        wait_for(lambda: read_health(running)["running"] == 1)
        second = send_request(running, LONG)
        wait_for(lambda: read_health(running)["waiting"] == 1)
        answer = running.post({"prompt": "a"})
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"]["code"] == "queue_full"
        first.close()
        second.close()
        wait_for(lambda: read_health(running)["running"] == 0)
        assert running.post({"prompt": "a"}).status_code == 200


def test_a_request_that_takes_too_long_is_a_504() -> None:
    # A smaller model writes so fast that a busy client counts as one that does not read.
    with start_server("demo", "--max-tokens", "1000000", "--timeout", "1") as running:
        body = {"prompt": "One", "max_tokens": 1_000_000, "ignore_eos": True}
        with ThreadPoolExecutor(1) as pool:
            streamed = pool.submit(running.post, {**body, "stream": True})
            assert running.refuse(504, body)["code"] == "timeout"
        events = read_events(streamed.result().text)
        assert json.loads(events[-1])["error"]["code"] == "timeout"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["none"], 5, "there is no run at none"),
        ([], 2, "RUN"),
        (["RUN", "RUN"], 2, "two runs are called char"),
        (["RUN", "--port", "70000"], 2, "--port"),
        (["RUN", "--host", "nowhere.invalid"], 2, "no address of this machine"),
        (["RUN", "--host", "203.0.113.7"], 2, "no address of this machine"),
        (["RUN", "--chat-template", "chatml"], 2, "'names', 'lines'"),
    ],
)
def test_what_cannot_be_served_is_said(
    runs: dict[str, Run],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    named = [str(runs["char"].path) if word == "RUN" else word for word in arguments]
    monkeypatch.setattr(sys, "argv", ["llm-timecycle", "serve", *named])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    assert message in capsys.readouterr().err


def test_a_port_in_use_is_said(server: RunningServer, runs: dict[str, Run]) -> None:
    port = server.url.rpartition(":")[2]
    ended = subprocess.run(
        [*PROGRAM, str(runs["char"].path), "--port", port], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert f"port {port}: another program uses this port" in ended.stderr


def test_damaged_weights_end_the_server(runs: dict[str, Run], tmp_path) -> None:
    import shutil

    copy = tmp_path / "damaged"
    shutil.copytree(runs["char"].path, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    ended = subprocess.run(
        [*PROGRAM, str(copy), "--port", "0"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 5
    assert "model.safetensors" in ended.stderr
