"""A browser, a server to talk to, and the page as a person opens it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving.page.fake_server import FakeServer

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium; where there is none, the tests of the page are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("the page needs a browser: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        is_root = hasattr(os, "geteuid") and os.geteuid() == 0
        arguments = ["--no-sandbox"] if is_root else []
        opened = driver.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server that answers at once."""
    with FakeServer() as running:
        yield running


@pytest.fixture
def page(browser: Any, server: FakeServer) -> Iterator[Any]:
    """The page, connected; an error on it, or a request to anywhere else, fails the test."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "request",
        lambda request: (
            request.url.startswith((server.url, "data:", "blob:")) or errors.append(request.url)
        ),
    )
    opened.goto(server.url)
    opened.wait_for_selector("#setting-temperature")
    yield opened
    context.close()
    assert errors == []
