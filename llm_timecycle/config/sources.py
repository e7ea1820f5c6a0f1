"""Where settings are written: in a file, in overrides, or in Python.

    source    a settings file, one override such as `training.epochs=3`, or values given in Python
              (`python_values`)
    node      a piece of YAML that knows its location (`yaml_nodes`)
    Written   one value as it was written: its node, its location, and the directory that paths in
              it start from
    Problem   one thing that is wrong, with its location (`diagnostics`)

A source puts its values into a mapping by dotted path, where a later source replaces an earlier
one, and appends whatever is not a setting to the problems.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Protocol

from llm_timecycle.config.diagnostics import Problem
from llm_timecycle.config.locate import SETTINGS_SUFFIXES, names_text
from llm_timecycle.config.sections import list_section_keys
from llm_timecycle.config.spelling import suggest_key
from llm_timecycle.config.yaml_nodes import (
    Entries,
    Location,
    Node,
    Scalar,
    describe_node,
    parse_yaml,
    to_key,
)
from llm_timecycle.errors import ConfigError
from llm_timecycle.files import UnfitFileError, read_regular

MAX_SETTINGS_BYTES = 1 << 20
CLOSING = {'"': '"', "'": "'", "[": "]", "{": "}"}
"""What ends a value that begins with a quote or a bracket."""
SHOWN_CHARACTERS = 80
COMMENT = re.compile(r"(?:^|\s)#")


@dataclass(frozen=True)
class Written:
    """A value as it was written."""

    node: Node
    location: Location
    base: Path


class Source(Protocol):
    """A settings file, an override, or values given in Python."""

    def collect(self, written: dict[str, Written], problems: list[Problem]) -> None:
        """Add the values by dotted path, and whatever is not a setting to the problems."""


@dataclass(frozen=True)
class SettingsFile:
    """A YAML file; paths in it are relative to its directory.

    Attributes:
        path: of the file.
        content: what the file will hold, to be checked before it is written; None reads it.
    """

    path: Path
    content: bytes | None = None

    def collect(self, written: dict[str, Written], problems: list[Problem]) -> None:
        """Add the file's values; see `Source`.

        Raises:
            ConfigError: the file cannot be read, is not YAML, or has no sections.
        """
        sections = list_section_keys()
        for section, location, node in list_entries(self._read_root(), "", problems):
            if section not in sections:
                suggestion = suggest_key(section, None)
                problems.append(
                    Problem(section, location, f"there is no such section; {suggestion}")
                )
            elif isinstance(node, Entries):
                self._collect_section(section, node, written, problems)
            elif not (isinstance(node, Scalar) and node.value is None):
                explanation = (
                    f"received {describe_node(node)}; expected settings on the lines below it, "
                    f"indented by two spaces, each as key: value"
                )
                problems.append(Problem(section, location, explanation))

    def _read_root(self) -> Entries:
        """The sections. A file that has none, and is not named .yaml, may be meant as a text."""
        is_named_as_settings = self.path.suffix.lower() in SETTINGS_SUFFIXES
        name = quote(str(self.path))
        try:
            if self.content is None:
                text = read_settings_text(self.path)
            else:
                text = _decode_settings(self.content, self.path)
            root = parse_yaml(text, str(self.path))
            if isinstance(root, Entries):
                return root
            if root is not None:
                hint = root.location.find_misspelling()
                raise ConfigError(
                    f"{root.location}: expected sections ({', '.join(list_section_keys())}) with "
                    f"settings below them, received {describe_node(root)}"
                    + (f" ({hint})" if hint else "")
                )
        except ConfigError as error:
            if is_named_as_settings or not self.path.is_file():
                raise
            command = "train" if names_text(self.path) else "config suggest"
            raise ConfigError(
                f"{error}\nIf it is a text to train on: llm-timecycle {command} {name}"
            ) from None
        start = f". Write a file to start from with: llm-timecycle config new --force {name}"
        raise ConfigError(f"{self.path} holds no settings{start if is_named_as_settings else ''}")

    def _collect_section(
        self, section: str, node: Entries, written: dict[str, Written], problems: list[Problem]
    ) -> None:
        base = self.path.absolute().parent
        for key, location, value in list_entries(node, f"{section}.", problems):
            if key in list_section_keys()[section]:
                written[f"{section}.{key}"] = Written(value, location, base)
            else:
                explanation = f"there is no such setting; {suggest_key(key, section)}"
                problems.append(Problem(f"{section}.{key}", location, explanation))


@dataclass(frozen=True)
class Override:
    """`section.key=value`, the value in YAML without comments.

    Paths in it are relative to the current directory.
    """

    text: str

    def collect(self, written: dict[str, Written], problems: list[Problem]) -> None:
        """Add the value; see `Source`."""
        sections = list_section_keys()
        name, sign, text = self.text.partition("=")
        name, text = name.strip(), text.strip()
        section, _, key = name.partition(".")
        origin = f"override {_shorten(self.text)}"
        location = Location(origin, [text], 1, 1, 1, is_override=True, key=name)
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
                node = _parse_override(text, location)
            except ConfigError as error:
                explanation = str(error).removeprefix(f"{location}: ")
            else:
                written[name] = Written(node, location, Path.cwd())
                return
        problems.append(Problem(_shorten(name) or "?", location, explanation))


def _shorten(text: str) -> str:
    """At most so much of what was given that a message can be read."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def read_settings_text(path: Path) -> str:
    """The text of a settings file, which must be UTF-8 and no larger than 1 MB.

    Raises:
        ConfigError: it is not, or cannot be read.
    """
    try:
        content = read_regular(path, MAX_SETTINGS_BYTES)
    except UnfitFileError as error:
        if error.errno == errno.EFBIG:
            raise _refuse_large(path) from error
        raise ConfigError(
            f"{path} is not a regular file; expected a settings file. Write what a pipe or a "
            f"device gives to a file, and name that file"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    return _decode_settings(content, path)


def _decode_settings(content: bytes, path: Path) -> str:
    if len(content) > MAX_SETTINGS_BYTES:
        raise _refuse_large(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text: the byte at offset {error.start} is invalid. Save the file "
            f"as UTF-8"
        ) from error


def _refuse_large(path: Path) -> ConfigError:
    return ConfigError(f"{path} is larger than 1 MB; expected a settings file, which is small")


def list_entries(
    entries: Entries, prefix: str, problems: list[Problem]
) -> Iterator[tuple[str, Location, Node]]:
    """Key, location and value of each entry; a repeated key is a problem."""
    first_lines: dict[str, int] = {}
    for key_node, value in entries.pairs:
        key = to_key(key_node) if isinstance(key_node, Scalar) else describe_node(key_node)
        location = replace(key_node.location, last_line=_find_last_line(key_node, value))
        if key in first_lines:
            first = "" if location.is_override else f"; the first is on line {first_lines[key]}"
            explanation = f"written twice{first}. Keep one"
            problems.append(Problem(f"{prefix}{key}", location, explanation))
            continue
        first_lines[key] = location.line
        yield key, location, value


def _find_last_line(key: Node, value: Node) -> int:
    is_value = isinstance(value, Scalar) and value.value is not None
    return max(key.location.line, value.location.last_line) if is_value else key.location.line


def _parse_override(text: str, location: Location) -> Node:
    """The value of an override: YAML, except that it has no comments."""
    end = CLOSING.get(text[0])
    # The shell has removed the quotes that YAML would want round a glob or a number sign.
    if text.startswith("*") or (end is None and COMMENT.search(text)):
        return Scalar(location, text, text)
    node = parse_yaml(text, location.origin, is_override=True, key=location.key)
    if end is not None and text[-1] != end and COMMENT.search(text):
        raise ConfigError(
            f"received more after the closing {end}; a value here has no comments: leave out what "
            f"follows the {end}"
        )
    if node is None:  # an anchor or the start of a document without anything after it
        raise ConfigError(
            f"no value after the =; write null for none. If it is text, "
            f"{location.explain_quotes(text)}"
        )
    return node
