"""The READMEs show the program as it is: every command, its own help text, files that exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from llm_timecycle.cli.config import command as config_command
from llm_timecycle.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")


def load_write_help():  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("write_help", ROOT / "scripts/write_help.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", READMES)
def test_help_texts_are_the_programs_own(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert load_write_help().write_help(text) == text, "run scripts/write_help.py"


@pytest.mark.parametrize("name", READMES)
def test_every_command_has_its_help_text(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    commands = [c for c in COMMANDS if c != "config"]
    commands += [f"config {subcommand}" for subcommand in config_command.commands]
    for command in commands:
        assert f"<!-- help: llm-timecycle {command} -->" in text
        assert f"Usage: llm-timecycle {command}" in text


@pytest.mark.parametrize("name", READMES)
def test_scripts_and_files_that_it_names_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w./])((?:scripts|configs|data|tests)/[\w./-]+\w)", text))
    assert {"scripts/demo", "scripts/test", "configs/section5.yaml"} <= named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
