"""Reading the fields of a request by hand, so that each error names its field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from llm_timecycle.parsing import is_unicode
from llm_timecycle.serving.errors import refuse_field

Body = Mapping[str, Any]


def read_whole(body: Body, name: str, least: int, most: int, default: int) -> int:
    """A whole number; `default` where it is left out or null.

    >>> read_whole({"n": 2}, "n", 1, 8, default=1), read_whole({"n": None}, "n", 1, 8, default=1)
    (2, 1)
    """
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise refuse_field(name, value, f"a whole number from {least} to {most}")
    return value


def read_flag(body: Body, name: str) -> bool:
    """True or false; false where it is left out or null."""
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise refuse_field(name, value, "true or false")
    return value


def read_number(value: object, name: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse_field(name, value, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise refuse_field(name, value, "a finite number")
    return number


def read_text(value: object, name: str) -> str:
    """A text of whole characters."""
    if not isinstance(value, str):
        raise refuse_field(name, value, "a text")
    if not is_unicode(value):
        raise refuse_field(name, value, "a text without half of a surrogate pair")
    return value


def read_ids(value: object, name: str, vocab_size: int) -> list[int]:
    """A list of token ids."""
    if not isinstance(value, list):
        raise refuse_field(name, value, "a list of token ids")
    for id in value:
        if isinstance(id, bool) or not isinstance(id, int) or not 0 <= id < vocab_size:
            raise refuse_field(name, id, f"token ids from 0 to {vocab_size - 1}")
    return value
