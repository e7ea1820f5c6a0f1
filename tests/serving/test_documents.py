"""The examples of docs/serving.md work as they are written, at another address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llm_timecycle.runs.directory import Run
from tests.cli.random_runs import call, make_run
from tests.serving.servers import RunningServer, start_server

PAGE = (Path(__file__).parents[2] / "docs/serving.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8080"
CURLS = dict(re.findall(rf"curl {ADDRESS}(\S+) -d '(.*)'", PAGE))
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run_examples(server: RunningServer, *examples: str) -> None:
    code = "\n".join(examples).replace(ADDRESS, server.url).replace('"demo"', '"char"')
    exec(code, {})


def test_the_curl_examples(server: RunningServer, tmp_path: Path) -> None:
    assert list(CURLS) == ["/v1/completions", "/v1/chat/completions"]
    assert server.post(CURLS["/v1/completions"], "/v1/completions").status_code == 200
    run = make_run(tmp_path / "talk", "char", "User: Is it so?\nAssistant: Yes.\n")
    with start_server(run.path, "--chat-template", "names") as running:
        assert running.post(CURLS["/v1/chat/completions"], "/v1/chat/completions").is_success


def test_the_example_with_the_official_client(
    server: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    run_examples(server, PYTHON[0])
    written = server.write(prompt="One morning", max_tokens=40, seed=1)
    assert capsys.readouterr().out == f"{written}\n"


def test_the_example_with_the_settings_of_the_run(
    server: RunningServer, runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run_examples(server, *PYTHON)
    begun = server.write(prompt="One morning", max_tokens=40, seed=1)
    printed = capsys.readouterr().out.removeprefix(f"{begun}\n")
    prompt = ("--prompt", "One morning", "--seed", "3", "--no-stream")
    assert f"One morning{printed}" == call(runs["char"].path, *prompt).stdout
