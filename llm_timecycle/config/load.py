"""From a YAML file and overrides to checked settings, or to one error that names every problem."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from llm_timecycle.arguments import write_received
from llm_timecycle.config.diagnostics import Problem, combine_problems, explain_wrong_value
from llm_timecycle.config.dump import write_value
from llm_timecycle.config.json_schema import list_key_schemas
from llm_timecycle.config.locate import find_settings_file
from llm_timecycle.config.sections import list_section_keys
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.sources import Override, SettingsFile, Source, Written, list_entries
from llm_timecycle.config.spelling import suggest_key
from llm_timecycle.config.text_settings import BUILT_IN_CORPORA
from llm_timecycle.config.validation import CONTRADICTION
from llm_timecycle.config.yaml_nodes import Entries, Items, Location, to_python
from llm_timecycle.errors import ConfigError
from llm_timecycle.path_names import explain_impossible_name, find_name_problem

PATH_KEYS = ("data.train", "data.valid", "data.test")
OPENING_QUOTES = tuple("“‘「„")
CLOSING_QUOTES = tuple("”’」“")


@dataclass(frozen=True)
class LoadedSettings:
    """Settings, and where they came from."""

    settings: Settings
    name: str
    """What a run with these settings is called."""
    base: Path
    """The absolute directory of the file."""
    path: Path
    comments: Mapping[str, str] = field(default_factory=dict)
    """What to write beside some of the settings, by dotted path."""


def read_settings(
    source: str | Path, overrides: Sequence[str] = (), defaults: Sequence[Source] = ()
) -> LoadedSettings:
    """Read settings from a YAML file, then from overrides, and check them all.

    Paths of texts come out absolute: those in the file are relative to the file's directory, those
    in an override to the current one. Names of built-in corpora stay as they are.

    Args:
        source: a path, or the bare name of a shipped file (`section5`).
        overrides: `section.key=value` each, the value in YAML; a later one replaces an earlier one.
        defaults: values for what the file does not set.

    Raises:
        ConfigError: one message with every problem, each with its dotted path, its line, what was
            received, what is allowed, and the nearest right name. Text that is not YAML at all is
            reported alone.
    """
    path = find_settings_file(source)
    sources = [*defaults, SettingsFile(path), *map(Override, overrides)]
    settings = check_sources(sources, str(path))
    return LoadedSettings(settings, path.stem, path.absolute().parent, path)


def check_sources(sources: Sequence[Source], origin: str) -> Settings:
    """The settings that some sources make together; a later source replaces an earlier one.

    Args:
        sources: in order.
        origin: what the error calls all of them.

    Raises:
        ConfigError: see `read_settings`.
    """
    written: dict[str, Written] = {}
    problems: list[Problem] = []
    for each in sources:
        each.collect(written, problems)
    for name, value in written.items():
        if isinstance(value.node, Entries):  # report keys that are repeated in the value
            list(list_entries(value.node, f"{name}.", problems))
    problems += _find_bad_paths(written)
    sections: dict[str, dict[str, Any]] = {}
    for name, value in written.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, {})[key] = _resolve_value(name, value)
    settings = None
    try:
        settings = Settings.model_validate(sections)
    except ValidationError as error:
        problems += _explain_errors(error, written)
    if settings is None or problems:
        raise combine_problems(problems, origin)
    return settings


def explain_sections(sections: Mapping[str, object], error: ValidationError) -> ConfigError:
    """What is wrong with sections that were given in Python, as `read_settings` would say it.

    Args:
        sections: by name, each a mapping or a section already.
        error: what pydantic found.
    """
    from llm_timecycle.config.python_values import PythonValues

    written: dict[str, Written] = {}
    problems: list[Problem] = []
    for section, given in sections.items():
        values = given.model_dump() if isinstance(given, BaseModel) else given
        if section not in list_section_keys():
            where, explanation = section, f"there is no such section; {suggest_key(section, None)}"
        elif not isinstance(values, Mapping):
            where, explanation = (
                section,
                f"received {write_received(given)}; expected a mapping of settings",
            )
        else:
            named = {f"{section}.{key}": value for key, value in values.items()}
            PythonValues(named, "Settings").collect(written, problems)
            continue
        location = Location("Settings", [], 1, 1, 1, is_override=True)
        problems.append(Problem(where, location, explanation))
    problems += _explain_errors(error, written)
    return combine_problems(problems, "Settings(...)")


def list_given(sources: Sequence[Source]) -> frozenset[str]:
    """The dotted paths of the settings to which some sources give a value."""
    written: dict[str, Written] = {}
    for each in sources:
        each.collect(written, [])
    return frozenset(written)


def _explain_errors(error: ValidationError, written: dict[str, Written]) -> Iterator[Problem]:
    """Every wrong value, one problem per wrong item of a list, and every contradiction."""
    items_by_path: dict[str, dict[int, None]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        location: tuple[int | str, ...] = (*detail["loc"], "")  # a section alone has no key
        section, key, *inner = location
        path = f"{section}.{key}"
        if detail["type"] == CONTRADICTION:
            # None where all of them have values of a wrong type, which has been said.
            blamed = next((path for path in detail["ctx"]["paths"] if path in written), None)
            if blamed is not None:
                yield Problem(blamed, written[blamed].location, detail["ctx"]["explanation"])
        elif path in written:  # else it is no setting, which has been said
            items = items_by_path.setdefault(path, {})
            items.update((part, None) for part in inner if isinstance(part, int))
    for path, items in items_by_path.items():
        for item in items or [None]:
            yield _describe_wrong(path, written[path], item)


def _describe_wrong(path: str, written: Written, item: int | None) -> Problem:
    section, _, key = path.partition(".")
    schema = list_key_schemas(section)[key]
    node, location = written.node, written.location
    if item is not None and isinstance(node, Items):
        node = node.nodes[item]
        location = node.location
    position = None if item is None else item + 1
    return Problem(path, location, explain_wrong_value(node, schema, position))


def _find_bad_paths(written: dict[str, Written]) -> Iterator[Problem]:
    """Paths of texts that are text to YAML but cannot be meant as paths."""
    for path in PATH_KEYS:
        if value := written.get(path):
            nodes = value.node.nodes if isinstance(value.node, Items) else [value.node]
            for node in nodes:
                text = to_python(node)
                if not isinstance(text, str) or text == "":
                    continue
                if problem := find_name_problem(_resolve_path(text, value.base)):
                    yield Problem(path, value.location, problem)
                elif text[:1] in OPENING_QUOTES and text[-1:] in CLOSING_QUOTES:
                    explanation = f"received {text}, quotes included; expected a path"
                    yield Problem(path, node.location, explanation)
                elif whole := _find_whole_name(text, node.location, value.base):
                    explanation = (
                        f'received {text}, because YAML reads what follows " #" as a comment, '
                        f"and there is also {whole}. If that is meant, put it in quotes: "
                        f"{write_value(whole)}; if not, put the comment on a separate line"
                    )
                    yield Problem(path, node.location, explanation)


def _find_whole_name(text: str, location: Location, base: Path) -> str | None:
    """The name that exists and of which a comment cut off the end, leaving `text`; else None."""
    if location.is_override or location.line > len(location.lines):
        return None
    line = location.lines[location.line - 1].rstrip()[location.column - 1 :]
    if not line.startswith(text):  # in quotes
        return None
    ends = [match.start() for match in re.finditer(r"\s+#", line[len(text) :])]
    names = [line[: len(text) + end] for end in ends[1:]] + [line] if ends[:1] == [0] else []
    return next((name for name in names if os.path.exists(_resolve_path(name, base))), None)  # noqa: PTH110


def _resolve_value(name: str, written: Written) -> Any:
    """The plain value of a node, paths of texts made absolute."""
    value = to_python(written.node)
    if name not in PATH_KEYS:
        return value
    if isinstance(value, list):
        return [_resolve_path(item, written.base) for item in value]
    return _resolve_path(value, written.base)


def _resolve_path(value: Any, base: Path) -> Any:
    is_path = isinstance(value, str) and value not in BUILT_IN_CORPORA
    if not is_path or explain_impossible_name(value):
        return value
    path = os.path.expanduser(value)  # noqa: PTH111  (Path.expanduser raises for unknown users)
    start = glob.escape(str(base)) if glob.has_magic(path) else str(base)
    joined = str(Path(start) / path)
    if ".." not in Path(path).parts:
        return joined
    plain = os.path.normpath(joined)  # unless `..` follows a symbolic link to somewhere else
    return plain if os.path.realpath(plain) == os.path.realpath(joined) else joined
