"""The page's modules without its elements: the tests are in JavaScript beside this file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.page.fake_server import FakeServer

TESTS = [
    (file, name)
    for file in ("document_tests.js", "module_tests.js", "writing_tests.js")
    for name in re.findall(
        r"^export (?:async )?function (test\w+)",
        (Path(__file__).parent / file).read_text(encoding="utf-8"),
        re.MULTILINE,
    )
]


@pytest.fixture(scope="module")
def blank_page(browser: Any) -> Iterator[Any]:
    """A page of the server's origin, without the page's elements."""
    with FakeServer() as server:
        page = browser.new_page()
        page.goto(server.url + "tests/checks.js")
        yield page
        page.close()


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_module(blank_page: Any, file: str, name: str) -> None:
    run = f"import('/tests/{file}').then((tests) => tests.{name}()).then(() => 'passed')"
    assert blank_page.evaluate(run) == "passed"
