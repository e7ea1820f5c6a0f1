"""What the documents say can be done: their commands parse, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llm_timecycle.cli.main import group

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
GENERATED = ("docs/cli.md", "docs/settings.md")
DOCUMENTS = tuple(
    sorted(
        path.relative_to(ROOT).as_posix()
        for folder in ("", "docs", "notebooks")
        for path in (ROOT / folder).glob("*.md")
    )
)
WRITTEN = tuple(name for name in DOCUMENTS if name not in GENERATED)
LONGEST_README = 200
SHELL_MARKS = {"<", ">", "|", "&&"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def list_commands(text: str) -> Iterator[list[str]]:
    """The words of every `llm-timecycle` command in a code block or a code span.

    >>> list(list_commands("Try `llm-timecycle train small` or `pip`."))
    [['train', 'small']]
    """
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for line in (*lines, *re.findall(r"`([^`\n]+)`", prose)):
        if not re.match(r"(\.venv/bin/)?llm-timecycle ", line):
            continue
        _, *words = shlex.split(line, comments=True)
        ends = [index for index, word in enumerate(words) if word in SHELL_MARKS]
        yield words[: min(ends, default=len(words))]


def name_command(words: list[str]) -> str:
    """The name of a command without its arguments, such as `config check`."""
    return " ".join(words[: 2 if words[0] == "config" else 1])


def parse(words: list[str]) -> None:
    """Let click parse a command without running it; a bare name needs only to exist."""
    command: click.Command | None = group
    while isinstance(command, click.Group):
        name, *words = words
        if name == "--version":
            return
        command = command.get_command(click.Context(command), name)
        assert command is not None, f"no command {name}"
        if not words:
            return
    assert command is not None
    command.make_context(name, words)


def list_links(text: str) -> Iterator[str]:
    """The targets of Markdown links and images that are not on the web."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"\w+:", target):
            yield target


def list_anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub names them.

    >>> list_anchors("## Stop, and resume")
    {'stop-and-resume'}
    """
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", READMES)
def test_a_readme_is_short(name: str) -> None:
    assert len(read(name).splitlines()) <= LONGEST_README


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for link in list_links(read(name)):
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        assert target.exists(), f"{name} links to {link}"
        if anchor:
            assert anchor in list_anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("name", WRITTEN)
def test_commands_parse(name: str) -> None:
    refused = {}
    for words in list_commands(read(name)):
        try:
            parse(words)
        except click.ClickException as error:
            refused[shlex.join(words)] = error.format_message()
    assert not refused


@pytest.mark.parametrize("name", WRITTEN)
def test_settings_exist(name: str) -> None:
    for setting in sorted(set(re.findall(r"--set ([\w.]+=[^\s`]+)", read(name)))):
        arguments = ["config", "show", "small", "--set", setting]
        assert CliRunner().invoke(group, arguments).exit_code == 0, f"{name}: --set {setting}"


@pytest.mark.parametrize("name", WRITTEN)
def test_files_of_the_repository_exist(name: str) -> None:
    named = re.findall(r"(?<![\w./-])((?:scripts|configs|data|tests|docs)/[\w./-]+\w)", read(name))
    assert [path for path in sorted(set(named)) if not (ROOT / path).exists()] == []


def test_both_readmes_name_the_same_commands() -> None:
    english, chinese = ({name_command(c) for c in list_commands(read(name))} for name in READMES)
    assert english == chinese
    assert {"train", "evaluate", "generate", "profile", "demo"} <= english


def test_both_pages_of_questions_answer_the_same() -> None:
    pages = [read(name) for name in ("docs/questions.md", "docs/questions.zh.md")]
    headings = [re.findall(r"^#+ ", page, re.MULTILINE) for page in pages]
    assert headings[0] == headings[1]
    commands = [{name_command(c) for c in list_commands(page)} for page in pages]
    assert commands[0] == commands[1]
