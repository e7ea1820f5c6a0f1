"""Errors below the command line speak of arguments and settings, not of `--options`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "llm_timecycle"
OPTION = re.compile(r"(?<![\w-])--[a-z]")


def list_error_texts(tree: ast.AST) -> Iterator[str]:
    """The text of every raised message, with {} for what is filled in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in node.exc.args:
                pieces = [n for n in ast.walk(argument) if isinstance(n, ast.Constant)]
                yield "{}".join(piece.value for piece in pieces if isinstance(piece.value, str))


def find_options(tree: ast.AST) -> list[str]:
    """The messages that name an option outside a whole command line."""
    return [
        text
        for text in list_error_texts(tree)
        if OPTION.search(re.split(r"llm-timecycle [a-z]|pip install", text)[0])
    ]


@pytest.mark.parametrize(
    "path",
    [
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "cli"
    ],
)
def test_library_errors_name_no_options(path):
    assert find_options(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))) == []


def test_an_option_is_found():
    assert find_options(ast.parse("raise E(f'{path} exists: add --resume')"))
    assert not find_options(ast.parse("raise E(f'Try: llm-timecycle train {path} --resume')"))
