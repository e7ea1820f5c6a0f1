"""From a YAML file and overrides to checked settings, or to one error that names every problem."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llm_timecycle.config.diagnostics import Problem, combine_problems, explain_wrong_value
from llm_timecycle.config.dump import dump_settings
from llm_timecycle.config.json_schema import list_key_schemas, list_sections
from llm_timecycle.config.load_collect import Written, collect_file, collect_override
from llm_timecycle.config.load_locate import find_settings_file, read_settings_text
from llm_timecycle.config.settings import BUILT_IN_CORPORA, Settings
from llm_timecycle.config.validation import find_conflicts
from llm_timecycle.config.yaml_nodes import Items, parse_yaml, to_python
from llm_timecycle.errors import ConfigError

__all__ = ["LoadedSettings", "dump_settings", "read_settings"]

PATH_KEYS = ("train", "valid", "test")
OPENING_QUOTES = tuple("“‘「„")
CLOSING_QUOTES = tuple("”’」“")


@dataclass(frozen=True)
class LoadedSettings:
    """Settings as resolved, and where they came from.

    `name` is what a run is called after them, `base` the absolute directory of the file.
    """

    settings: Settings
    name: str
    base: Path
    path: Path


def read_settings(source: str | Path, overrides: Sequence[str] = ()) -> LoadedSettings:
    """Read settings from a YAML file, then from overrides, and check them all.

    Paths of texts come out absolute: those in the file are relative to the file's directory, those
    in an override to the current one. Names of built-in corpora stay as they are.

    Args:
        source: a path, or the bare name of a file that comes with the program (`section5`).
        overrides: `section.key=value` each, the value in YAML; a later one replaces an earlier one.

    Raises ConfigError: one message with every problem, each with its dotted path, its line, what
    was received, what is allowed, and the nearest right name. Text that is not YAML at all is
    reported alone.
    """
    path = find_settings_file(source)
    base = path.absolute().parent
    root = parse_yaml(read_settings_text(path), str(path))
    if root is None:
        raise ConfigError(
            f"{path} holds no settings. Write a file to start from with: "
            f"llm-timecycle config new --force {path}"
        )
    problems: list[Problem] = []
    written = collect_file(root, base, problems)
    for override in overrides:
        collect_override(override, written, problems)
    settings = _check_values(written, problems)
    if problems:
        raise combine_problems(problems, str(path))
    return LoadedSettings(settings, path.stem, base, path)


def _check_values(written: dict[str, Written], problems: list[Problem]) -> Settings:
    """The settings that the values make; wrong ones go to `problems` and count as left out."""
    wrong: set[str] = set()
    checked: dict[str, Any] = {}
    for section, model in list_sections().items():
        values = {
            path.removeprefix(f"{section}."): _resolve_value(path, value)
            for path, value in written.items()
            if path.startswith(f"{section}.")
        }
        try:
            checked[section] = model.model_validate(values)
        except ValidationError as error:
            for key, item in _list_wrong(error):
                path = f"{section}.{key}"
                wrong.add(path)
                problems.append(_describe_wrong(path, written[path], item))
            right = {key: value for key, value in values.items() if f"{section}.{key}" not in wrong}
            checked[section] = model.model_validate(right)
    problems += _find_bad_paths(written)
    settings = Settings(**checked)
    for conflict in find_conflicts(settings):
        if wrong.isdisjoint(conflict.paths):
            blamed = next(path for path in conflict.paths if path in written)
            problems.append(Problem(blamed, written[blamed].place, conflict.explanation))
    return settings


def _list_wrong(error: ValidationError) -> Iterator[tuple[str, int | None]]:
    """The key of each refused value; where items of a list are to blame, one pair an item."""
    items_by_key: dict[str, dict[int, None]] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        key, *inner = detail["loc"]
        items = items_by_key.setdefault(str(key), {})
        items.update((part, None) for part in inner if isinstance(part, int))
    for key, items in items_by_key.items():
        yield from ((key, item) for item in (items or [None]))


def _describe_wrong(path: str, written: Written, item: int | None) -> Problem:
    section, _, key = path.partition(".")
    schema = list_key_schemas(section)[key]
    node, place = written.node, written.place
    if item is not None and isinstance(node, Items):
        node = node.nodes[item]
        place = node.place
    position = None if item is None else item + 1
    return Problem(path, place, explain_wrong_value(node, schema, position))


def _find_bad_paths(written: dict[str, Written]) -> Iterator[Problem]:
    """Paths of texts that are text to YAML but cannot be meant as paths."""
    for key in PATH_KEYS:
        if value := written.get(f"data.{key}"):
            nodes = value.node.nodes if isinstance(value.node, Items) else [value.node]
            for node in nodes:
                text = to_python(node)
                if not isinstance(text, str):
                    continue
                if "\0" in text:
                    explanation = "a path cannot hold the character U+0000"
                    yield Problem(f"data.{key}", value.place, explanation)
                elif text[:1] in OPENING_QUOTES and text[-1:] in CLOSING_QUOTES:
                    explanation = f"received {text}, quotes and all; expected a path"
                    yield Problem(f"data.{key}", node.place, explanation)


def _resolve_value(path: str, written: Written) -> Any:
    """The plain value of a node, paths of texts made absolute."""
    value = to_python(written.node)
    section, _, key = path.partition(".")
    if section != "data" or key not in PATH_KEYS:
        return value
    if isinstance(value, list):
        return [_resolve_path(item, written.base) for item in value]
    return _resolve_path(value, written.base)


def _resolve_path(value: Any, base: Path) -> Any:
    if not isinstance(value, str) or value == "" or value in BUILT_IN_CORPORA:
        return value
    path = os.path.expanduser(value)  # noqa: PTH111  (Path.expanduser raises for unknown users)
    start = glob.escape(str(base)) if glob.has_magic(path) else str(base)
    return str(Path(start) / path)
