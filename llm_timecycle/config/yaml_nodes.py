"""YAML text to a tree of nodes, each with its location.

The text is read as YAML 1.2 (core schema): `1e-3` is a number, `no` is a word. What a settings
file does not need is refused: aliases, tags, directives, a second document, deep nesting. So
nothing in a file can run code or expand beyond its size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

from llm_timecycle.config.spelling import Misspelling, explain_syntax_error, find_misspelling
from llm_timecycle.errors import ConfigError

MAX_NESTING = 10
MAX_VALUES = 10_000  # enough for a long list of files, too few to keep the reader busy
SHOWN = 200  # characters of what a message proposes
MAX_NUMBER_LENGTH = 100  # characters; Python refuses to read integers of many thousand digits

# The tag resolution of YAML 1.2.2, section 10.3.2.
NULL = re.compile(r"(?:null|Null|NULL|~|)\Z")
BOOLEAN = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
INTEGER = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
TOO_LARGE = re.compile(r"\\U(?!000|0010)[0-9a-fA-F]{8}|(?m:^%YAML.*)")
NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")


@dataclass(frozen=True)
class Location:
    """Where something was written: in `origin` (a file, or an override), from line to line.

    Lines and columns count from 1; `lines` are all lines of the origin, and `key` is that of an
    override, whose lines are its value.
    """

    origin: str
    lines: Sequence[str]
    line: int
    column: int
    last_line: int
    is_override: bool = False
    key: str = ""

    def __str__(self) -> str:
        return self.origin if self.is_override else f"{self.origin}:{self.line}"

    def find_misspelling(self) -> Misspelling | None:
        """What looks mistyped in these lines, such as a full-width colon; else None."""
        return find_misspelling(self.lines[self.line - 1 : self.last_line], self.line)

    def explain_quotes(self, text: str) -> str:
        """How to put the text that begins here in quotes; a shell removes those around a value.

        >>> print(Location("", ["[a, 3]"], 1, 5, 1, True, "data.train").explain_quotes("3"))
        put it in quotes that the shell keeps: 'data.train=[a, "3"]'
        """
        quoted = json.dumps(text, ensure_ascii=False)
        if not self.key:
            return f"put it in quotes: {quoted}" if len(quoted) <= SHOWN else "put it in quotes"
        line, start = self.lines[self.line - 1], self.column - 1
        lines = [*self.lines]
        lines[self.line - 1] = f"{line[:start]}{quoted}{line[start + len(text) :]}"
        argument = quote("\n".join([f"{self.key}={lines[0]}", *lines[1:]]))
        if len(argument) > SHOWN:
            return "put it in double quotes, and the whole argument in single quotes"
        return f"put it in quotes that the shell keeps: {argument}"


@dataclass(frozen=True)
class Scalar:
    """One value: text, a number, true, false or null; `written` is its source text."""

    location: Location
    value: bool | int | float | str | None
    written: str


@dataclass(frozen=True)
class Items:
    """A list."""

    location: Location
    nodes: list[Node]


@dataclass(frozen=True)
class Entries:
    """A mapping: pairs of key and value in the order of the text, repeated keys included."""

    location: Location
    pairs: list[tuple[Node, Node]]


Node = Scalar | Items | Entries


def parse_yaml(text: str, origin: str, is_override: bool = False, key: str = "") -> Node | None:
    """The one document of a YAML text, or None if it contains only comments.

    Args:
        text: the YAML.
        origin: its name in messages.
        is_override: whether it is the value of an override, whose line number means nothing.
        key: of an override that a shell passed on.

    Raises ConfigError, with the line and the column, if it is not valid YAML or is refused.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.reader import ReaderError

    lines = re.split(r"\r\n|\n|\r", text)
    start = Location(origin, lines, 1, 1, 1, is_override, key)
    try:
        return _build_tree(YAML(typ="safe", pure=True).parse(text), start)
    except ReaderError as error:
        line, column = _find_position(text, error.position)
        explanation = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
    except MarkedYAMLError as error:
        found = explain_syntax_error(error, lines, is_override)
        line, column, explanation = found.line, found.column, found.explanation
        if found.text:
            advice = replace(start, line=line, column=column).explain_quotes(found.text)
            explanation = f"{explanation}; if it is text, {advice}"
    except (ValueError, OverflowError):  # from chr() and int(), of an escape or a version
        number = TOO_LARGE.search(text)
        line, column = _find_position(text, number.start() if number else 0)
        explanation = f"the number in {(number[0] if number else text)[:20]} is too large"
    where = origin if is_override else f"{origin}:{line}, column {column}"
    raise ConfigError(f"{where}: {explanation}")


def _find_position(text: str, offset: int) -> tuple[int, int]:
    """The line and the column of a character, both from 1."""
    line_start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - line_start + 1


def resolve_scalar(written: str) -> bool | int | float | str | None:
    """The value of a plain (unquoted) scalar.

    >>> resolve_scalar("1e-3"), resolve_scalar("no"), resolve_scalar("0x10"), resolve_scalar("~")
    (0.001, 'no', 16, None)
    """
    if NULL.match(written):
        return None
    if BOOLEAN.match(written):
        return written.lower() == "true"
    if len(written) > MAX_NUMBER_LENGTH:
        return written
    if INTEGER.match(written):
        base = {"0o": 8, "0x": 16}.get(written[:2], 10)
        return int(written, base)
    if FLOAT.match(written):
        return float(written)
    if NOT_FINITE.match(written):
        return float(written.replace(".", ""))
    return written


def to_python(node: Node) -> Any:
    """The plain Python value of a node."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Items):
        return [to_python(item) for item in node.nodes]
    return {to_key(key): to_python(value) for key, value in node.pairs}


def to_key(node: Node) -> str:
    """A key is text, also where it would be a number as a value."""
    if isinstance(node, Scalar):
        return node.value if isinstance(node.value, str) else node.written
    return str(to_python(node))


def describe_node(node: Node) -> str:
    """A node in an error message: what was written, shortened."""
    if isinstance(node, Items):
        return "a list" if node.nodes else "an empty list"
    if isinstance(node, Entries):
        return "a group of settings"
    if node.value is None:
        return "nothing" if node.written == "" else f"nothing ({node.written})"
    short = node.written if len(node.written) <= 60 else node.written[:57] + "..."
    return " ".join(short.split())


def _build_tree(events: Iterator[Any], first: Location) -> Node | None:
    from ruamel.yaml import events as kinds

    roots: list[Node] = []
    open_groups: list[tuple[Location, list[Node]]] = []
    document_count = 0

    for count, event in enumerate(events):
        start, end = event.start_mark, event.end_mark
        last = max(start.line, end.line - (end.column == 0)) + 1
        location = replace(first, line=start.line + 1, column=start.column + 1, last_line=last)
        _refuse(event, location)
        if count > MAX_VALUES:
            raise _refusal(location, f"more than {MAX_VALUES} values; settings are about 50")
        node: Node
        if isinstance(event, kinds.DocumentStartEvent):
            document_count += 1
            if document_count > 1:
                raise _refusal(
                    location, "a second document begins here (---); put it in its own file"
                )
            continue
        if isinstance(event, (kinds.SequenceStartEvent, kinds.MappingStartEvent)):
            open_groups.append((location, []))
            if len(open_groups) > MAX_NESTING:
                raise _refusal(location, "nested too deeply; settings are sections of plain values")
            continue
        if isinstance(event, kinds.ScalarEvent):
            node = _build_scalar(event, location)
        elif isinstance(event, kinds.SequenceEndEvent):
            group_location, nodes = open_groups.pop()
            node = Items(group_location, nodes)
        elif isinstance(event, kinds.MappingEndEvent):
            group_location, nodes = open_groups.pop()
            node = Entries(group_location, list(zip(nodes[::2], nodes[1::2], strict=True)))
        else:
            continue
        (open_groups[-1][1] if open_groups else roots).append(node)

    is_empty = not roots or (isinstance(roots[0], Scalar) and roots[0].written == "")
    return None if is_empty else roots[0]


def _build_scalar(event: Any, location: Location) -> Scalar:
    is_plain = event.implicit[0]
    if any("\ud800" <= character <= "\udfff" for character in event.value):
        raise _refusal(location, "half a character (U+D800 to U+DFFF); write the character itself")
    if is_plain:
        return Scalar(location, resolve_scalar(event.value), event.value)
    mark = event.style if event.style in {"'", '"'} else '"'
    return Scalar(location, event.value, f"{mark}{event.value}{mark}")


def _refuse(event: Any, location: Location) -> None:
    """Raise ConfigError for parts of YAML that settings files do not use."""
    from ruamel.yaml import events as kinds

    if isinstance(event, kinds.AliasEvent):
        raise _refusal(
            location,
            f"an alias (*{event.anchor}); not allowed in settings files. If it is text, such as a "
            f"glob, {location.explain_quotes(f'*{event.anchor}')}",
        )
    if getattr(event, "tag", None) is not None:
        raise _refusal(location, f"a tag ({event.tag}); not allowed in settings files. Remove it")
    if isinstance(event, kinds.DocumentStartEvent) and (
        event.tags or event.version not in {None, (1, 2)}
    ):
        raise _refusal(location, "a directive (%) above this line; not allowed in settings files")


def _refusal(location: Location, explanation: str) -> ConfigError:
    where = str(location) if location.is_override else f"{location}, column {location.column}"
    return ConfigError(f"{where}: {explanation}")
