"""Files are opened in one place, which takes regular files only, and only as much as they hold."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "llm_timecycle"
READERS = {"read_bytes", "read_text"}
MAY_READ = {
    "files",  # the one place
    "text/files/streams",  # what is given as a stream, up to a bound
    "system",  # files of the system: /proc and /sys
    "serving/app",  # the page, which is part of the program
}


def list_reads(tree: ast.AST) -> Iterator[int]:
    """The lines of all calls that open a file by its path to read it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        words = [*node.args, *(each.value for each in node.keywords if each.arg == "mode")]
        modes = [each.value for each in words if isinstance(each, ast.Constant)]
        is_opened = name in {"open", "fdopen"} and (not words or "rb" in modes or "r" in modes)
        if (name in READERS and isinstance(node.func, ast.Attribute)) or is_opened:
            yield node.lineno


def test_files_are_read_through_one_door() -> None:
    found = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for path in sorted(ROOT.rglob("*.py"))
        if any(list_reads(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found <= MAY_READ
    assert {"files", "system"} <= found


def test_a_call_that_reads_is_found() -> None:
    calls = ["a.read_bytes()", "a.read_text()", "a.open()", 'a.open("rb")', 'open(a, mode="r")']
    assert [*list_reads(ast.parse("\n".join(calls)))] == [1, 2, 3, 4, 5]
    others = ['a.open("wb")', 'a.open("a")', "open_regular(a)", "reporter.open(a, b)"]
    assert [*list_reads(ast.parse("\n".join(others)))] == []
