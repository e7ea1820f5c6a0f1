"""The page's modules without its elements: the tests are in document_tests.js."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.page.fake_server import FakeServer

NAMES = re.findall(
    r"^export (?:async )?function (test\w+)",
    (Path(__file__).parent / "document_tests.js").read_text(encoding="utf-8"),
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def blank_page(browser: Any) -> Iterator[Any]:
    """A page of the server's origin, without the page's elements."""
    with FakeServer() as server:
        page = browser.new_page()
        page.goto(server.url + "tests/document_tests.js")
        yield page
        page.close()


@pytest.mark.parametrize("name", NAMES)
def test_module(blank_page: Any, name: str) -> None:
    blank_page.evaluate(f"import('/tests/document_tests.js').then((tests) => tests.{name}())")
