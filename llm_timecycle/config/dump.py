"""Settings to YAML: the plain form of a run, and the commented form to start from."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from llm_timecycle.config.json_schema import describe_allowed, list_key_schemas
from llm_timecycle.config.settings import Settings
from llm_timecycle.parsing import parse_json

COMMENT_WIDTH = 92
PLAIN_TEXT = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*\Z")
NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


NO_COMMENTS: Mapping[str, str] = {}


def dump_settings(settings: Settings, comments: Mapping[str, str] = NO_COMMENTS) -> str:
    """The whole tree as YAML; reading it back gives equal settings.

    Args:
        settings: the values to write.
        comments: a comment for some of the keys, by dotted path; it stands above its key.

    >>> print(dump_settings(Settings(), {"data.train": "comes with Python"})[:48])
    data:
      # comes with Python
      train: python-docs
    """
    lines = []
    for section, values in settings.model_dump().items():
        lines.append(f"{section}:")
        for key, value in values.items():
            if comment := comments.get(f"{section}.{key}"):
                lines.append(f"  # {' '.join(comment.split())}")
            lines.append(f"  {key}: {write_value(value)}")
    return "\n".join(lines) + "\n"


def read_comments(text: str) -> dict[str, str]:
    """The comments by dotted path that `dump_settings` has written into `text`.

    >>> read_comments(dump_settings(Settings(), {"training.seed": "a birthday"}))
    {'training.seed': 'a birthday'}
    """
    comments, section, comment = {}, "", ""
    for line in text.splitlines():
        key, _, value = line.strip().partition(":")
        if line.startswith("  # "):
            comment = line[4:]
            continue
        if line == f"{key}:":
            section = key
        elif comment and value:
            comments[f"{section}.{key}"] = comment
        comment = ""
    return comments


def render_commented(settings: Settings, schema_location: str | None = None) -> str:
    """The whole tree as YAML with the meaning and the range of every key above it.

    Args:
        settings: the values to write.
        schema_location: where editors find the JSON Schema, a path or a URL; None writes none.
    """
    lines = []
    if schema_location is not None:
        lines.append(f"# yaml-language-server: $schema={schema_location}")
    lines += [
        "# Settings of llm-timecycle. Change what you like; a line left out has its default.",
        "# Relative paths start from the directory of this file.",
    ]
    for section, values in settings.model_dump().items():
        purpose = Settings.model_fields[section].description
        lines += ["", *_write_comment(str(purpose), ""), f"{section}:"]
        for number, (key, value) in enumerate(values.items()):
            schema = list_key_schemas(section)[key]
            allowed = f"{describe_allowed(schema)}; default {write_value(schema['default'])}"
            lines += [""] if number else []
            lines += _write_comment(schema["description"], "  ")
            lines += _write_comment(f"({allowed})", "  ")
            lines.append(f"  {key}: {write_value(value)}")
    return "\n".join(lines) + "\n"


def _write_comment(text: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in textwrap.wrap(text, COMMENT_WIDTH - len(indent))]


def write_value(value: Any) -> str:
    """A value on one line; text is quoted unless it is unambiguous."""
    if isinstance(value, str):
        is_plain = PLAIN_TEXT.match(value) and value.lower() not in NOT_TEXT
        return value if is_plain else _quote(value)
    if isinstance(value, list):
        return f"[{', '.join(_quote(item) for item in value)}]"
    if isinstance(value, dict):
        entries = (f"{_quote(key)}: {write_value(item)}" for key, item in value.items())
        return f"{{{', '.join(entries)}}}"
    return json.dumps(value)


def read_value(written: str) -> Any:
    """The value that `write_value` wrote; None for what it would have written in another way.

    >>> read_value("a/b.txt"), read_value('["a b", "c"]'), read_value("a  # a comment")
    ('a/b.txt', ['a b', 'c'], None)
    """
    if PLAIN_TEXT.match(written) and written.lower() not in NOT_TEXT:
        return written
    try:
        value = parse_json(written)
    except ValueError:
        return None
    return value if write_value(value) == written else None


def _quote(text: str) -> str:
    """Text in double quotes, as JSON has it, with unprintable characters escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(
        character if character.isprintable() else f"\\U{ord(character):08X}" for character in quoted
    )
