"""The arguments of the Python interface, checked against the annotations of its functions.

An annotation says once, for readers, for type checkers and for `check_arguments`, what an argument
may be. Ranges and names are checked where they are known.
"""

from __future__ import annotations

import builtins
import numbers
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin

from llm_timecycle.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

MOST_NESTED = 10  # lists in lists; a list can also be in itself

_WORDS = {
    str: "a text",
    Path: "a path",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    NoneType: "None",
}
_OPTIONS = Parameter.VAR_KEYWORD
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def check_arguments(function: F) -> F:
    """Make a call with a value that the annotation does not allow a UsageError that says so.

    It names the argument, what was received and what is expected. Numbers of NumPy become Python's.
    `**options` are left to the function.

    >>> @check_arguments
    ... def repeat(text: str, times: int = 2) -> str:
    ...     return text * times
    >>> repeat("ab")
    'abab'
    >>> repeat("ab", times="3")
    Traceback (most recent call last):
    llm_timecycle.errors.UsageError: times: received '3'; expected a whole number
    """
    expected = signature(function)

    @wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        try:
            bound = expected.bind(*arguments, **options)
        except TypeError:
            return function(*arguments, **options)  # Python says what is missing or unknown
        names = _Names({**vars(builtins), **function.__globals__})
        for name, value in bound.arguments.items():
            parameter = expected.parameters[name]
            if parameter.annotation is not Parameter.empty and parameter.kind is not _OPTIONS:
                kind = eval(parameter.annotation, {}, names)
                bound.arguments[name] = _check(name, value, kind)
        return function(*bound.args, **bound.kwargs)

    return cast(F, checked)


def check_range(name: str, value: int, least: int, most: int, remark: str = "") -> None:
    """Raise UsageError unless the argument `name` is from `least` to `most`.

    >>> check_range("samples", 0, 1, 1000)
    Traceback (most recent call last):
    llm_timecycle.errors.UsageError: samples: received 0; expected a whole number from 1 to 1,000
    """
    if not least <= value <= most:
        raise UsageError(
            f"{name}: received {write_received(value)}; expected a whole number from {least:,} to "
            f"{most:,}{remark}"
        )


def to_plain_number(value: object) -> object:
    """A number or truth value, such as one of NumPy's, as Python's own; anything else as it is."""
    if isinstance(value, bool):
        return value
    try:
        if isinstance(value, numbers.Integral):
            return int(value)
        if isinstance(value, numbers.Real):
            return float(value)
    except OverflowError:  # a fraction beyond a float
        return value
    numpy = sys.modules.get("numpy")
    return bool(value) if numpy is not None and isinstance(value, numpy.bool_) else value


def to_plain(value: object, depth: int = MOST_NESTED) -> object:
    """A value as settings have it: numbers of Python, texts for paths, lists for tuples.

    What is nested more than `depth` times, which no setting is, becomes None.

    >>> to_plain({"a": (Path("b"), 1)})
    {'a': ['b', 1]}
    """
    if depth == 0:
        return None
    if isinstance(value, Mapping):
        return {key: to_plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item, depth - 1) for item in value]
    return str(value) if isinstance(value, Path) else to_plain_number(value)


def write_received(value: object) -> str:
    """Any value as a message shows it: short, on one line.

    >>> write_received("a"), write_received(1.5), write_received(10**5000)
    ("'a'", '1.5', 'a number of too many digits')
    """
    try:
        return re.sub(r"\s*\n\s*", " ", _SHORT.repr(value))
    except ValueError:
        if isinstance(value, int):
            return "a number of too many digits"
        return f"a {type(value).__name__}"


class _NotImported(type):
    """A class, or the module of one, that nothing has imported, so that it has no instances."""

    def __getattr__(cls, name: str) -> _NotImported:
        if name.startswith("__"):
            raise AttributeError(name)
        return _NotImported(name, (), {})


class _Names(dict[str, Any]):
    """What annotations name, also where only type checkers import it."""

    def __missing__(self, name: str) -> Any:
        return sys.modules.get(name) or _NotImported(name, (), {})


def _check(name: str, value: object, kind: Any) -> object:
    plain = to_plain_number(value)
    if _fits(plain, kind):
        return plain
    remedy = f" (write [{write_received(value)}])" if _fits([value], kind) else ""
    raise UsageError(
        f"{name}: received {write_received(value)}; expected {_describe(kind)}{remedy}"
    )


def _fits(value: Any, kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(key, parts[0]) for key in value)
    if origin is Sequence:
        is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))
        return is_list and all(_fits(item, parts[0]) for item in value)
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, (int, float) if kind is float else kind)


def _describe(kind: Any) -> str:
    """What a kind allows, in words.

    >>> _describe(str | Path | Sequence[str | Path] | None)
    'a path, a list of paths or None'
    """
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else [kind]
    *most, last = [_describe_one(part) for part in parts if not (part is str and Path in parts)]
    return f"{', '.join(most)} or {last}" if most else last


def _describe_one(kind: Any) -> str:
    if get_origin(kind) is Mapping:
        return "a mapping of names to values"
    if get_origin(kind) is Sequence:
        return f"a list of {_describe(get_args(kind)[0]).removeprefix('a ')}s"
    return _WORDS.get(kind) or f"a {kind.__name__} object"
