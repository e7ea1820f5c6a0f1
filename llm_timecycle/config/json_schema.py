"""The JSON Schema of a settings file, and what it allows in words."""

from __future__ import annotations

from functools import cache
from typing import Any

from llm_timecycle.config.settings import Settings

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_ID = "urn:llm-timecycle:settings"


def settings_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a settings file, for completion and checks in editors."""
    schema = Settings.model_json_schema()
    _tidy(schema)
    return {
        "$schema": SCHEMA_DIALECT,
        "$id": SCHEMA_ID,
        "title": "Settings of llm-timecycle",
        **schema,
    }


@cache
def list_key_schemas(section: str) -> dict[str, dict[str, Any]]:
    """The schema of every key of a section."""
    schema = settings_schema()
    name = schema["properties"][section]["$ref"].rpartition("/")[2]
    properties: dict[str, dict[str, Any]] = schema["$defs"][name]["properties"]
    return properties


def describe_allowed(schema: dict[str, Any]) -> str:
    """What a key's schema allows, in words.

    >>> describe_allowed({"type": "integer", "minimum": 1})
    'a whole number, 1 or more'
    >>> describe_allowed({"anyOf": [{"enum": ["a", "b", "c"]}, {"type": "null"}]})
    'one of a, b, c, or null'
    """
    if "anyOf" in schema:
        *first, last = (describe_allowed(choice) for choice in schema["anyOf"])
        return f"{', '.join(first)}, or {last}"
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    kind = schema["type"]
    if kind in {"integer", "number"}:
        return _describe_range(schema)
    if kind == "array":
        return f"a list of {describe_allowed(schema['items'])}s"
    if kind == "object":
        return f"a mapping from text to {describe_allowed(schema['additionalProperties'])}"
    words: dict[str, str] = {"boolean": "true or false", "null": "null", "string": "text"}
    return words[kind]


def _describe_range(schema: dict[str, Any]) -> str:
    kind = "a whole number" if schema["type"] == "integer" else "a number"
    above, least = schema.get("exclusiveMinimum"), schema.get("minimum")
    below, most = schema.get("exclusiveMaximum"), schema.get("maximum")
    if isinstance(below, int):
        most = below - 1
    if least is not None and most is not None:
        return f"{kind} from {_write(least)} to {_write(most)}"
    if least is not None and below is not None:
        return f"{kind} from {_write(least)} to less than {_write(below)}"
    if least is not None:
        return f"{kind}, {_write(least)} or more"
    ends = [
        f"{words} {_write(bound)}"
        for words, bound in (("above", above), ("below", below), ("at most", most))
        if bound is not None
    ]
    return f"{kind} {' and '.join(ends)}"


def _write(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _tidy(schema: Any) -> None:
    """Drop the titles that repeat the keys, and put descriptions on one line."""
    if isinstance(schema, list):
        for item in schema:
            _tidy(item)
    if isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            del schema["title"]
        if isinstance(schema.get("description"), str):
            schema["description"] = " ".join(schema["description"].split())
        for item in schema.values():
            _tidy(item)
