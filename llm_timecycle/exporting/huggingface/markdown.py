"""Pieces of the model card: a text in a fence, and metadata as YAML."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from llm_timecycle.config.dump import NOT_TEXT


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
    """Metadata in YAML, read alike by YAML 1.1 and 1.2.

    >>> print(write_metadata({"language": ["no", "zh"], "tags": ["lstm"]}), end="")
    language:
    - "no"
    - zh
    tags:
    - lstm
    """
    yaml = YAML()
    yaml.width = 4096  # a line is broken nowhere
    stream = io.StringIO()
    yaml.dump(_quote(values), stream)
    return stream.getvalue()


def _quote(value: Any) -> Any:
    """The same with every text in quotes that YAML 1.1 would read as something else."""
    if isinstance(value, Mapping):
        return {key: _quote(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_quote(item) for item in value]
    if isinstance(value, str) and value.lower() in NOT_TEXT:
        return DoubleQuotedScalarString(value)
    return value
