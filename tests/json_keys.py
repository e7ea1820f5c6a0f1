"""What a JSON object consists of, without its values: scripts depend on the keys."""

from __future__ import annotations

from typing import Any


def list_keys(value: Any, path: str = "") -> set[str]:
    """The path of every key of an object; `[]` is each item of a list.

    >>> sorted(list_keys({"a": 1, "b": [{"c": 2}]}))
    ['.a', '.b', '.b[].c']
    """
    if isinstance(value, dict):
        inside = (
            list_keys(item, f"{path}.{key}") | {f"{path}.{key}"} for key, item in value.items()
        )
        return set().union(*inside)
    if isinstance(value, list):
        return set().union(*(list_keys(item, f"{path}[]") for item in value))
    return set()
