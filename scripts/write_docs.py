"""Write what is made from the settings and the command line; nobody edits these files by hand.

.venv/bin/python scripts/write_docs.py            write them
.venv/bin/python scripts/write_docs.py --check    fail if any of them is out of date

configs/schema.json                          the JSON Schema of settings files
docs/settings.md                             every setting
docs/cli.md                                  every command's help page
docs/llm-timecycle.1                         the same as a manual page
docs/serving.md                              the table of options at its end
llm_timecycle/generation/keyword_arguments.py   the keyword arguments of `Model.generate`
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
from click.testing import CliRunner

from llm_timecycle import __version__
from llm_timecycle.cli import serve
from llm_timecycle.cli.main import COMMANDS, group
from llm_timecycle.config.dump import write_value
from llm_timecycle.config.json_schema import describe_allowed, list_key_schemas, settings_schema
from llm_timecycle.config.sections import list_sections, write_annotation
from llm_timecycle.config.settings import GenerationSettings, Settings

ROOT = Path(__file__).parent.parent
HELP_WIDTH = 88
GENERATED = "by scripts/write_docs.py; do not edit."
ENVIRONMENT = {
    "LLM_TIMECYCLE_CACHE": "The directory for encoded texts, in place of the user's cache.",
    "LLM_TIMECYCLE_DEBUG": "With 1, errors come with a traceback.",
    "LLM_TIMECYCLE_JOB": "The id of a training on several machines, for its workers alone.",
    "TF_CONFIG": "The workers of a training, in place of --workers and --worker-index.",
    f"{serve.ENVIRONMENT}_OPTION": "The default of an option of serve, such as "
    f"{serve.ENVIRONMENT}_PORT.",
}
"""Of the manual page."""


def write_schema() -> str:
    """configs/schema.json: what `llm-timecycle config schema` prints."""
    return json.dumps(settings_schema(), indent=2, ensure_ascii=False) + "\n"


def write_settings_page() -> str:
    """docs/settings.md: a table of every section's keys."""
    lines = [
        "# Settings",
        "",
        f"<!-- Generated {GENERATED} -->",
        "",
        "A settings file is YAML with five sections; every key may be left out. "
        "`llm-timecycle config new my.yaml` writes a commented file to start from, "
        "`llm-timecycle config check my.yaml` checks one, and `--set section.key=value` overrides "
        "one setting on the command line.",
    ]
    for section, model in list_sections().items():
        lines += ["", f"## `{section}`", "", str(Settings.model_fields[section].description), ""]
        lines += ["| Key | Value | Default | Meaning |", "| --- | --- | --- | --- |"]
        schemas = list_key_schemas(section)
        for key in model.model_fields:
            schema = schemas[key]
            cells = (
                f"`{key}`",
                describe_allowed(schema),
                f"`{write_value(schema['default'])}`",
                re.sub(r"<\w+>", r"`\g<0>`", schema["description"]),  # <unk> is no HTML
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_command_page() -> str:
    """docs/cli.md: the help page of every command."""
    lines = ["# Command line", "", f"<!-- Generated {GENERATED} -->"]
    for command in list_commands():
        name = " ".join(["llm-timecycle", *command])
        lines += ["", f"## `{name}`", "", "```text", render_help(command).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def list_commands() -> Iterator[tuple[str, ...]]:
    """The program itself, its commands, and theirs."""
    yield ()
    context = click.Context(group)
    for name in COMMANDS:
        yield (name,)
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((name, subcommand) for subcommand in command.commands)


def render_help(command: tuple[str, ...]) -> str:
    """What `llm-timecycle COMMAND --help` prints."""
    arguments = [*command, "--help"]
    result = CliRunner().invoke(
        group, arguments, prog_name="llm-timecycle", terminal_width=HELP_WIDTH
    )
    return result.output


def write_man_page() -> str:
    """docs/llm-timecycle.1: every command's help as a manual page, and the exit codes."""
    lines = [
        f'.\\" Generated {GENERATED}',
        f'.TH LLM-TIMECYCLE 1 "" "llm-timecycle {__version__}" "User Commands"',
        *(".nh", ".ad l", ".SH NAME"),
        f"llm\\-timecycle \\- {_escape_roff(str(group.help)[0].lower() + str(group.help)[1:-1])}",
        *(".SH SYNOPSIS", ".B llm\\-timecycle", "COMMAND [ARGUMENTS]", ".SH COMMANDS"),
    ]
    for command in list_commands():
        lines += _write_man_section(command) if command else []
    lines += [".SH ENVIRONMENT"]
    for name, meaning in ENVIRONMENT.items():
        lines += [".TP", f".B {name}", _escape_roff(meaning)]
    lines += [".SH EXIT STATUS"]
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    codes = re.search(r"\| Code \| Meaning \|\n.*\n((?:\|.*\n)+)", page)
    assert codes is not None
    for row in codes[1].splitlines():
        code, meaning = (cell.strip() for cell in row.strip("|").split("|"))
        lines += [".TP", f".B {code}", _escape_roff(meaning)]
    return "\n".join(lines) + "\n"


def _write_man_section(names: tuple[str, ...]) -> list[str]:
    """One command: its usage, its text and its options."""
    context = click.Context(group, info_name="llm-timecycle")
    command: click.Command = group
    for name in names:
        assert isinstance(command, click.Group)
        found = command.get_command(context, name)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f".SS {_escape_roff(usage)}"]
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        is_verbatim = paragraph.startswith("\b\n")
        text = _escape_roff(paragraph.removeprefix("\b\n"))
        lines += [".PP", *([".nf", text, ".fi"] if is_verbatim else [text])]
    options = (each for each in command.get_params(context) if isinstance(each, click.Option))
    for record in (option.get_help_record(context) for option in options):
        assert record is not None
        lines += [".TP", f".B {_escape_roff(record[0])}", _escape_roff(record[1])]
    return lines


def _escape_roff(text: str) -> str:
    """Text in which nothing is a request or an escape of roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", escaped, flags=re.MULTILINE)


def write_serving_page() -> str:
    """docs/serving.md: the text that is there, with the table of options at its end."""
    text = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    mark = f"<!-- Generated {GENERATED} -->\n"
    lines = ["| Option | Environment variable | Default | Meaning |", "| --- | --- | --- | --- |"]
    for option in serve.command.params:
        if isinstance(option, click.Option):
            cells = (
                "/".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts)),
                f"`{serve.ENVIRONMENT}_{str(option.name).upper()}`",
                _write_default(option),
                str(option.help),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return text.partition(mark)[0] + mark + "\n" + "\n".join(lines) + "\n"


def _write_default(option: click.Option) -> str:
    if option.is_flag:
        return "on" if option.default is True else "off"
    return f"`{option.default}`" if option.show_default else ""


def write_generation_options() -> str:
    """keyword_arguments.py: a TypedDict with a key for every setting of `generation`."""
    lines = [
        '"""The keyword arguments of `Model.generate` and `Model.stream`, for type checkers.',
        "",
        f"Generated {GENERATED}",
        '"""',
        "",
        "from typing import TypedDict",
        "",
        "",
        "class GenerationOptions(TypedDict, total=False):",
        '    """The settings of `generation`, any of which a call may replace."""',
        "",
    ]
    for key, field in GenerationSettings.model_fields.items():
        lines.append(f"    {key}: {write_annotation(field.annotation)}")
    return "\n".join(lines) + "\n"


PAGES = {
    "configs/schema.json": write_schema,
    "docs/settings.md": write_settings_page,
    "docs/cli.md": write_command_page,
    "docs/llm-timecycle.1": write_man_page,
    "docs/serving.md": write_serving_page,
    "llm_timecycle/generation/keyword_arguments.py": write_generation_options,
}


def update(root: Path, pages: Mapping[str, Callable[[], str]], is_check: bool) -> list[str]:
    """Rewrite the files under `root` that are out of date, or only name them."""
    stale = []
    for name, write in pages.items():
        path, text = root / name, write()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not is_check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return stale


def main() -> int:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(description="Write the generated files.")
    parser.add_argument("--check", action="store_true", help="fail if a file is out of date")
    is_check = parser.parse_args().check
    stale = update(ROOT, PAGES, is_check)
    for name in stale:
        print(f"out of date: {name}" if is_check else f"wrote {name}")
    if is_check and stale:
        print("Run: .venv/bin/python scripts/write_docs.py")
    return int(is_check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
