"""Lay out the pages of the site in build/site-pages, from which zensical builds it.

.venv/bin/python scripts/build_site.py

The pages are the repository's Markdown files, at the same places, so that links between them hold;
README.md is the first page, index.md. A link to anything else, such as code, has no page to lead to
and becomes its own text. Pictures come along.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "build/site-pages"
FOLDERS = ("", "docs", "notebooks")
PICTURES = (".svg", ".png")
INDEX = "index.md"
LINK = re.compile(
    r"^```.*?^```|`[^`\n]+`|(!?)\[((?:`[^`\n]+`|[^\[\]`])*)\]\(([^)\s]+)\)",
    re.DOTALL | re.MULTILINE,
)
"""A block or a span of code, which stays as it is, or a link or a picture."""


def list_pages(root: Path) -> dict[str, str]:
    """The place of every page on the site, by its path in the repository."""
    found = [path.relative_to(root) for folder in FOLDERS for path in (root / folder).glob("*.md")]
    names = sorted(path.as_posix() for path in found)
    return {name: INDEX if name == "README.md" else name for name in names}


def write_page(name: str, text: str, pages: dict[str, str]) -> str:
    """The text of a page as the site has it.

    Args:
        name: its path in the repository. pages: those of `list_pages`.

    >>> write_page("docs/a.md", "[read](../README.md#use), [`x`](../x.py)", {"README.md": INDEX})
    '[read](../index.md#use), `x`'
    """
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # of a notebook
    text = re.sub(r"^```python .*$", "```python", text, flags=re.MULTILINE)  # tags of its cells
    folder = PurePosixPath(name).parent
    return LINK.sub(lambda link: _write_link(link, folder, pages), text)


def _write_link(link: re.Match[str], folder: PurePosixPath, pages: dict[str, str]) -> str:
    is_picture, label, target = link.groups()
    if target is None or re.match(r"\w+:|#", target):
        return link[0]
    path, mark, anchor = target.partition("#")
    place = _resolve(folder / path)
    if is_picture or place.endswith(PICTURES):
        return link[0]
    if place not in pages:
        return label
    renamed = re.sub(r"README\.md$", INDEX, path) if pages[place] == INDEX else path
    return f"[{label}]({renamed}{mark}{anchor})"


def _resolve(path: PurePosixPath) -> str:
    """A path without its `..`, from the root of the repository."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def write_pages(target_folder: Path) -> None:
    """Write all pages anew."""
    if target_folder.exists():
        shutil.rmtree(target_folder)
    pages = list_pages(ROOT)
    for name, place in pages.items():
        target = target_folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / name).read_text(encoding="utf-8")
        target.write_text(write_page(name, text, pages), encoding="utf-8")
    shutil.copytree(ROOT / "docs/images", target_folder / "docs/images")


if __name__ == "__main__":
    write_pages(PAGES)
