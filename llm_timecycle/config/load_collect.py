"""Gathering values by dotted path, each with its place, from a file and from overrides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from llm_timecycle.config.diagnostics import Problem
from llm_timecycle.config.json_schema import list_section_keys
from llm_timecycle.config.spelling import suggest_key
from llm_timecycle.config.yaml_nodes import (
    Entries,
    Node,
    Place,
    Scalar,
    describe_node,
    parse_yaml,
)
from llm_timecycle.errors import ConfigError


@dataclass(frozen=True)
class Written:
    """A value as it was written: its node, its place, and the directory its paths start from."""

    node: Node
    place: Place
    base: Path


def collect_file(root: Node, base: Path, problems: list[Problem]) -> dict[str, Written]:
    """The values of a file by dotted path; what is no setting goes to `problems`."""
    sections = list_section_keys()
    if not isinstance(root, Entries):
        hint = root.place.find_misspelling()
        raise ConfigError(
            f"{root.place}: expected sections ({', '.join(sections)}) with settings below them, "
            f"received {describe_node(root)}" + (f" ({hint})" if hint else "")
        )
    written: dict[str, Written] = {}
    for section, place, node in _list_entries(root, "", problems):
        if section not in sections:
            suggestion = suggest_key(section, None)
            problems.append(Problem(section, place, f"there is no such section; {suggestion}"))
        elif isinstance(node, Entries):
            for key, key_place, value in _list_entries(node, f"{section}.", problems):
                if key in sections[section]:
                    written[f"{section}.{key}"] = Written(value, key_place, base)
                    if isinstance(value, Entries):  # a key that comes again in it is reported
                        list(_list_entries(value, f"{section}.{key}.", problems))
                else:
                    explanation = f"there is no such setting; {suggest_key(key, section)}"
                    problems.append(Problem(f"{section}.{key}", key_place, explanation))
        elif not (isinstance(node, Scalar) and node.value is None):
            explanation = (
                f"received {describe_node(node)}; expected settings on the lines below it, "
                f"indented by two spaces, each as key: value"
            )
            problems.append(Problem(section, place, explanation))
    return written


def _list_entries(
    entries: Entries, prefix: str, problems: list[Problem]
) -> Iterator[tuple[str, Place, Node]]:
    """Key, place and value of each entry; a key that comes again is a problem."""
    first_lines: dict[str, int] = {}
    for key_node, value in entries.pairs:
        key = key_node.written if isinstance(key_node, Scalar) else describe_node(key_node)
        key = key.strip("'\"")
        place = replace(key_node.place, last_line=_find_last_line(key_node, value))
        if key in first_lines:
            explanation = f"written twice; the first is on line {first_lines[key]}. Keep one"
            problems.append(Problem(f"{prefix}{key}", place, explanation))
            continue
        first_lines[key] = place.line
        yield key, place, value


def _find_last_line(key: Node, value: Node) -> int:
    is_value = isinstance(value, Scalar) and value.value is not None
    return max(key.place.line, value.place.last_line) if is_value else key.place.line


def collect_override(override: str, written: dict[str, Written], problems: list[Problem]) -> None:
    """Put the value of `section.key=value` into `written`, or what is wrong into `problems`."""
    sections = list_section_keys()
    name, sign, text = override.partition("=")
    name, text = name.strip(), text.strip()
    section, _, key = name.partition(".")
    short = override if len(override) <= 80 else override[:77] + "..."
    place = Place(f"--set {short}", [text], 1, 1, 1, is_override=True)
    if not sign:
        explanation = "expected KEY=VALUE, such as training.epochs=3"
    elif name in sections:
        explanation = (
            f"this is a section; set one of its keys, such as {name}.{sections[name][0]}=..."
        )
    elif section not in sections:
        explanation = f"there is no such setting; {suggest_key(name, None)}"
    elif key not in sections[section]:
        explanation = f"there is no such setting; {suggest_key(key, section)}"
    elif text == "":
        explanation = "no value after the =; write null for none"
    else:
        try:
            node = _parse_override(text, place)
        except ConfigError as error:
            explanation = str(error).removeprefix(f"{place}: ")
        else:
            written[name] = Written(node, place, Path.cwd())
            return
    problems.append(Problem(name or "?", place, explanation))


def _parse_override(text: str, place: Place) -> Node:
    if text.startswith("*"):  # a glob; the shell has taken the quotes that YAML would want
        return Scalar(place, text, text)
    node = parse_yaml(text, place.origin, is_override=True)
    if node is None:
        raise ConfigError("no value, only a comment; put text that begins with # in quotes")
    return node
