"""Parsing what a user was handed: whatever is in it, the answer is a value or a `ValueError`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_NO_ERRORS = (KeyboardInterrupt, SystemExit, GeneratorExit)


def parse_json(content: bytes | str) -> Any:
    """The value of a JSON document.

    Raises:
        ValueError: it is none, is nested too deeply, or has a number of thousands of digits.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:  # Python's own message tells programmers how to raise the limit
        raise ValueError("a number in it has too many digits") from None


def call_library(parse: Callable[[], T]) -> T:
    """The result of a library that parses; whatever stops it becomes a ValueError.

    A library written in Rust can panic, which Python sees as a BaseException that is no Exception.
    """
    try:
        return parse()
    except _NO_ERRORS:
        raise
    except BaseException as error:  # noqa: BLE001
        raise ValueError(str(error)) from None


def is_unicode(text: str) -> bool:
    """Whether it has no lone surrogate, which is what an invalid byte of an argument becomes.

    >>> is_unicode("文"), is_unicode("\\udc80")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
