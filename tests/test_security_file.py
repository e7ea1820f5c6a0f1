"""SECURITY.md promises nothing that no test holds, and its limits are those of the code."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n\n(.+?)\n(?=\n## |\Z)", TEXT, re.DOTALL | re.MULTILINE))
PROMISES = (
    *(
        "Every file",
        "A run",
        "A settings file",
        "A text",
        "A prompt",
        "A server",
        "Several machines",
        "Your work",
    ),
)
REFERENCE = re.compile(r"`(tests/[\w./]+\.py)::(\w+)`")
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "Mi": 1 << 20, "GiB": 1 << 30}


@cache
def list_tests(file: str) -> set[str]:
    """The tests of a file by name."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def list_limits() -> list[list[str]]:
    """The rows of the table of limits."""
    _, _, *rows = SECTIONS["Limits"].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize("section", PROMISES)
def test_every_promise_names_its_tests(section: str) -> None:
    first, *bullets = re.split(r"^- ", SECTIONS[section], flags=re.MULTILINE)
    assert first == ""
    assert bullets
    for bullet in bullets:
        assert REFERENCE.search(bullet), bullet
        promise = REFERENCE.sub("", bullet)
        assert len(promise.split()) > 5, bullet
        assert "tests/" not in promise, bullet


def test_every_section_promises_or_says_that_it_does_not() -> None:
    others = ("Report a fault", "Who is trusted", "Limits", "What is not promised")
    assert sorted(SECTIONS) == sorted((*PROMISES, *others))
    assert TEXT.count("\n## ") == len(SECTIONS)


def test_every_test_that_is_named_exists() -> None:
    named = REFERENCE.findall(TEXT)
    assert len(named) > 60
    assert [f"{file}::{test}" for file, test in named if test not in list_tests(file)] == []


@pytest.mark.parametrize(("what", "limit", "where", "tests"), list_limits())
def test_a_limit_is_that_of_the_code(what: str, limit: str, where: str, tests: str) -> None:
    assert REFERENCE.search(tests), what
    number, _, unit = limit.partition(" ")
    expected = int(number.replace(",", "")) * (UNITS[unit] if unit else 1)
    file, name = re.fullmatch(r"`(.+)\.py` `(.+)`", where).groups()  # type: ignore[union-attr]
    module = importlib.import_module(f"llm_timecycle.{file.replace('/', '.')}")
    if name.startswith("--"):
        command: click.Command = module.command
        (found,) = (each.default for each in command.params if name in each.opts)
    else:
        found = getattr(module, name)
    assert found == expected
