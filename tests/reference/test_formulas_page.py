"""docs/formulas.md has every public function of the reference, and names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/formulas.md").read_text(encoding="utf-8")
DERIVED = re.split(r"^## What is refused$", PAGE, flags=re.MULTILINE)[0]


def list_functions(path: Path) -> set[str]:
    """The names of a file's functions, those of classes left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def list_sections(text: str) -> dict[str, str]:
    """What is under each heading that has a formula's functions below it."""
    parts = re.split(r"^##+ (.+)\n", text, flags=re.MULTILINE)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {title: body for title, body in pairs if body.strip()}


def test_every_public_function_is_on_the_page_beside_its_file() -> None:
    folder = ROOT / "llm_timecycle/reference"
    missing = []
    for file in sorted(folder.rglob("*.py")):
        link = f"](../{file.relative_to(ROOT).as_posix()})"
        paragraphs = [part for part in PAGE.split("\n\n") if link in part]
        named = set(re.findall(r"`(\w+)`", " ".join(paragraphs)))
        public = {name for name in list_functions(file) if not name.startswith("_")}
        missing += [f"{file.name}: {name}" for name in sorted(public - named)]
    assert missing == []


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert [pair for pair in named if pair[1] not in list_functions(ROOT / pair[0])] == []
    assert len(named) > 60


def test_every_formula_has_a_source_and_a_test() -> None:
    for title, body in list_sections(DERIVED).items():
        assert re.search(r"^- Sources?: ", body, re.MULTILINE), title
        assert re.search(r"^- Held by `tests/", body, re.MULTILINE), title
