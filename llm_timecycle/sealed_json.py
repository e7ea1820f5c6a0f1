"""JSON objects that carry a hash of themselves, so that a change on the disk is found.

It finds accidents. Whoever changes a file on purpose can compute the hash anew, so that everything
else about what is read must be checked too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from llm_timecycle.parsing import is_unicode, parse_json

KEY = "sha256"


def write_sealed(values: Mapping[str, Any]) -> bytes:
    """An object as JSON, with the hash of all its entries as the last one.

    >>> read_sealed(write_sealed({"step": 3}))
    {'step': 3}
    """
    sealed = {**values, KEY: compute_hash(values)}
    return (json.dumps(sealed, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_sealed(content: bytes) -> dict[str, Any]:
    """The inverse of `write_sealed`.

    Raises:
        ValueError: it is not JSON, not an object, was changed, or could not be written again.
    """
    values = parse_json(content)
    if not isinstance(values, dict):
        raise ValueError("it is not an object")
    if values.pop(KEY, None) != compute_hash(values):
        raise ValueError("it was changed or damaged after it was written")
    if not is_unicode(json.dumps(values, ensure_ascii=False)):
        raise ValueError("it contains half of a character")
    return values


def compute_hash(values: Mapping[str, Any]) -> str:
    """The SHA-256 of an object, in hex, whatever the order of its entries."""
    written = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()
