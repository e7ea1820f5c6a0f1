"""A browser for the tests of pages, shared by all: a process runs only one at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WINDOW = {"width": 1200, "height": 900}
LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (1200, 390)]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium; where there is none, the tests of pages are skipped."""
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


@pytest.fixture(scope="session")
def shared_page(browser: Any) -> Iterator[Any]:
    """One page for most tests: a new one takes four times as long to open."""
    with open_page(browser) as opened:
        yield opened


@contextmanager
def show(page: Any, url: str) -> Iterator[Any]:
    """A page at an address, in the usual window; afterwards it is blank, and has no notes."""
    page.set_viewport_size(WINDOW)
    page.emulate_media(color_scheme="light")
    page.goto(url)
    try:
        yield page
    finally:
        page.goto("about:blank")
        page.seen_requests, page.troubles = [], []


@contextmanager
def open_page(browser: Any, **settings: Any) -> Iterator[Any]:
    """A page in a profile that is empty, which notes its `requests` and `troubles`."""
    context = browser.new_context(**{"locale": "en-GB", "viewport": WINDOW, **settings})
    page = context.new_page()
    page.seen_requests, page.troubles = [], []

    def hear(message: Any) -> None:
        if "Content Security Policy" in message.text:
            page.troubles.append(message.text)

    page.on("request", lambda request: page.seen_requests.append(request))
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("console", hear)
    yield page
    context.close()


def list_violations(page: Any) -> list[Any]:
    """What axe finds: loaded once for each page, and without all that it finds right."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(pytest.importorskip("axe_playwright_python.sync_playwright").Axe().axe_script)
    return page.evaluate(
        """async () => {
        const { violations } = await axe.run({ resultTypes: ["violations"] });
        return violations.map(({ id, nodes }) => [id, nodes[0].html]); }"""
    )


def check_looks(page: Any) -> None:
    """Nothing for axe to find, and nothing wider than the window."""
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        assert (scheme, width, list_violations(page)) == (scheme, width, [])
        assert page.evaluate("document.documentElement.scrollWidth") <= width
