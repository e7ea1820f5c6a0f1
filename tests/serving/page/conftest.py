"""Servers to talk to, and the page as a person opens it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser import show
from tests.cli.random_runs import make_run
from tests.serving.page.fake_server import FakeServer
from tests.serving.servers import RunningServer, start_server

WORDS = 'once upon a time there was a cat, and "the cat" sat.\n'
FEW_WORDS = "once upon a time, cats sat.\n"
"""Fewer than ten, so that all of them are choices."""
PROMPT_AT_MOST = 1000
FORGET = """() => {
  localStorage.clear();
  Storage.prototype.setItem = () => {};
  window.addEventListener("beforeunload", (event) => event.stopImmediatePropagation(), true);
}"""
"""Leaves nothing to the next test, and leaves without a question."""


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two models of words that have random weights and write without end."""
    root = tmp_path_factory.mktemp("page")
    make_run(root / "unicode", "word", WORDS, word_split="unicode")
    make_run(root / "whitespace", "word", FEW_WORDS)
    return root


@pytest.fixture(scope="session")
def server(runs: Path) -> Iterator[RunningServer]:
    """The real one, with the shipped models and those two."""
    limit = ("--max-prompt-tokens", str(PROMPT_AT_MOST))
    models = ("demo", "demo-zh", runs / "unicode", runs / "whitespace")
    with start_server(*models, *limit) as running:
        yield running


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A server that writes what is known beforehand, and only as fast as a test lets it."""
    with FakeServer() as running:
        yield running


@pytest.fixture
def page(shared_page: Any, server: RunningServer) -> Iterator[Any]:
    """The page of the real server, as new."""
    with visit(shared_page, server.url) as opened:
        yield opened


@pytest.fixture
def fake_page(shared_page: Any, fake: FakeServer) -> Iterator[Any]:
    """The page of the fake server, as new."""
    with visit(shared_page, fake.url) as opened:
        yield opened


@contextmanager
def visit(page: Any, url: str) -> Iterator[Any]:
    """The page of a server; an error on it, or a request to anywhere else, fails the test."""
    with show(page, url):
        page.wait_for_selector("#setting-temperature")
        yield page
        page.evaluate(FORGET)
        page.goto("about:blank")
        asked = [request.url for request in page.seen_requests]
        elsewhere = [each for each in asked if not each.startswith((url, "data:", "blob:"))]
        assert page.troubles + elsewhere == []
