"""Pieces of the model card: a text in a fence, and metadata as YAML."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from llm_timecycle.config.dump import write_value


def fence(text: str) -> str:
    """A text as a block that Markdown shows as it is, control characters as escapes.

    >>> print(fence("a ``` b"))
    ````text
    a ``` b
    ````
    """
    shown = "".join(
        character
        if unicodedata.category(character) != "Cc" or character in "\n\t"
        else character.encode("unicode_escape").decode()
        for character in text
    )
    longest = max(map(len, re.findall("`+", shown)), default=0)
    mark = "`" * max(3, longest + 1)
    return f"{mark}text\n{shown}\n{mark}"


def write_metadata(values: Mapping[str, Any]) -> str:
    """Mappings, lists and scalars in YAML, read alike by its versions 1.1 and 1.2.

    >>> print(write_metadata({"language": ["no"], "index": [{"name": "a b", "value": 2.5}]}))
    language:
    - "no"
    index:
    - name: "a b"
      value: 2.5
    """
    return "\n".join(_list_lines(values))


def _list_lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        lines = []
        for key, item in value.items():
            if isinstance(item, Mapping):
                lines += [f"{key}:", *(f"  {line}" for line in _list_lines(item))]
            elif isinstance(item, (list, tuple)):
                lines += [f"{key}:", *_list_lines(item)]
            else:
                lines.append(f"{key}: {write_value(item)}")
        return lines
    lines = []
    for item in value:
        first, *others = _list_lines(item) if isinstance(item, Mapping) else [write_value(item)]
        lines += [f"- {first}", *(f"  {line}" for line in others)]
    return lines
