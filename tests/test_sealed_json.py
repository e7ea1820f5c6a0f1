"""Objects that carry a hash of themselves."""

from __future__ import annotations

import json

import pytest

from llm_timecycle.sealed_json import KEY, compute_hash, read_sealed, write_sealed

VALUES = {"step": 3, "name": "红楼梦", "loss": 0.1 + 0.2, "inner": {"b": [1, None], "a": True}}


def test_what_is_written_is_read_back() -> None:
    assert read_sealed(write_sealed(VALUES)) == VALUES


def test_every_byte_that_says_something_is_covered() -> None:
    content = write_sealed(VALUES)
    for place, byte in enumerate(content):
        changed = content[:place] + bytes([byte ^ 1]) + content[place + 1 :]
        if json.loads(content) != _parse(changed):
            with pytest.raises(ValueError, match=r"."):
                read_sealed(changed)


def _parse(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None


def test_half_a_character_could_not_be_written_again() -> None:
    values = {"name": "\ud800"}
    with pytest.raises(ValueError, match="half of a character"):
        read_sealed(json.dumps({**values, KEY: compute_hash(values)}).encode())
