"""The ends of the ranges of all settings, from their JSON Schema."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from llm_timecycle.config.json_schema import list_key_schemas
from llm_timecycle.config.sections import list_section_keys

SHORTEST = "e"
"""The shortest text: a letter of the training text, and the field of its records."""
TEXT = "text.jsonl"
USABLE = {"data.train": TEXT, "data.valid": TEXT, "data.test": TEXT, "data.encoding": "latin-1"}
"""Texts that are no ends, for settings whose shortest text can only be refused."""


class End(NamedTuple):
    """A setting at an end of its range."""

    path: str
    value: Any

    def __str__(self) -> str:
        return f"{self.path}={self.value!r}"


def list_ends() -> list[End]:
    """Every end of every setting, in order."""
    ends = []
    for section, keys in list_section_keys().items():
        for key in keys:
            path = f"{section}.{key}"
            values = find_ends(list_key_schemas(section)[key])
            values += [USABLE[path]] if path in USABLE else []
            ends += [End(path, value) for value in values]
    return ends


def find_ends(schema: dict[str, Any]) -> list[Any]:
    """The values at the ends of what a key's schema allows.

    >>> find_ends({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, {"type": "null"}]})
    [1, 9, None]
    """
    if "anyOf" in schema:
        return [value for choice in schema["anyOf"] for value in find_ends(choice)]
    if "enum" in schema:
        return list(schema["enum"])
    kind = schema["type"]
    if kind == "array":
        return [[SHORTEST]] if schema.get("minItems") else [[], [SHORTEST]]
    if kind == "object":
        inner = find_ends(schema["additionalProperties"])
        return [{}, *({SHORTEST: value} for value in inner)]
    if kind in ("integer", "number"):
        return [
            find_bound(schema, "minimum", "exclusiveMinimum", math.inf),
            find_bound(schema, "maximum", "exclusiveMaximum", -math.inf),
        ]
    return {"null": [None], "boolean": [False, True], "string": [SHORTEST]}[kind]


def find_bound(schema: dict[str, Any], inclusive: str, exclusive: str, towards: float) -> float:
    """The number at one end of a range; KeyError where the schema leaves it open."""
    is_whole = schema["type"] == "integer"
    if inclusive in schema:
        bound: float = schema[inclusive]
    elif is_whole:
        bound = schema[exclusive] + (1 if towards > 0 else -1)
    else:
        bound = math.nextafter(schema[exclusive], towards)
    return int(bound) if is_whole else float(bound)
