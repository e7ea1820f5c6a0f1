"""The pages of the site: all are in its navigation, and no link of one leads out of it."""

from __future__ import annotations

import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_readme import DOCUMENTS, list_links

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts/build_site.py"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "pages"
    SCRIPT["write_pages"](folder)
    return folder


def list_entries(entry: object) -> Iterator[str]:
    """The files that a part of the navigation names."""
    if isinstance(entry, dict):
        for value in entry.values():
            yield from list_entries(value)
    elif isinstance(entry, list):
        for value in entry:
            yield from list_entries(value)
    else:
        yield str(entry)


def test_every_page_is_in_the_navigation_once(pages: Path) -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    written = sorted(path.relative_to(pages).as_posix() for path in pages.rglob("*.md"))
    assert sorted(list_entries(site["nav"])) == written
    assert len(written) == len(DOCUMENTS)


def test_links_stay_on_the_site(pages: Path) -> None:
    for page in pages.rglob("*.md"):
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
        for link in list_links(text):
            path = link.partition("#")[0]
            assert not path or (page.parent / path).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("[read](../README.md#use)", "[read](../index.md#use)"),
        ("[`a`](../a.py), [`b`](../b.py)", "`a`, `b`"),
        ("`[a](b.py)` [web](https://a.b)", "`[a](b.py)` [web](https://a.b)"),
        ("![x](images/x.png) [here](#there)", "![x](images/x.png) [here](#there)"),
        ("```python tags=['a']\n[a](b)\n```", "```python\n[a](b)\n```"),
        ("---\njupyter: {}\n---\n# A", "# A"),
    ],
)
def test_a_page_as_the_site_has_it(text: str, written: str) -> None:
    page = SCRIPT["write_page"]("docs/a.md", text, {"README.md": "index.md"})
    assert page == written
