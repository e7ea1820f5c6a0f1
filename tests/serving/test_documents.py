"""The examples of docs/serving.md work as they are written, at another address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.serving.servers import RunningServer

PAGE = (Path(__file__).parents[2] / "docs/serving.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8080"


def test_the_body_of_the_curl_example(server: RunningServer) -> None:
    ((path, body),) = re.findall(rf"curl {ADDRESS}(\S+) -d '(.*)'", PAGE)
    assert server.post(body, path).status_code == 200


def test_the_python_example(server: RunningServer, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code.replace(ADDRESS, server.url).replace('"demo"', '"char"'), {})
    written = server.write(prompt="One morning", max_tokens=40, seed=1)
    assert capsys.readouterr().out == f"{written}\n"
