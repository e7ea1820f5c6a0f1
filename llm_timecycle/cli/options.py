"""What several commands share: the help option, --set, and the options of `generation`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from llm_timecycle.errors import NotEnoughMemoryError, UsageError
from llm_timecycle.path_names import find_name_problem

HELP = {"help_option_names": ["-h", "--help"]}
"""The context settings of every command, so that its help page is the same however it is called."""

Function = TypeVar("Function", bound=Callable[..., object])


def config_overrides(function: Function) -> Function:
    """Give a command `--set KEY=VALUE`, any number of times, as its argument `overrides`."""
    return click.option(
        "--set",
        "overrides",
        metavar="KEY=VALUE",
        multiple=True,
        help="Override one setting of the file, such as training.epochs=3. Repeatable.",
    )(function)


class PathName(click.Path):
    """A path, or a name that may be one; what no file can be called, or cannot be reached,
    is refused.

    Args:
        as_text: whether the command gets it as it was written, since it may be something else.
    """

    def __init__(self, *, as_text: bool = False) -> None:
        super().__init__(path_type=str if as_text else Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """The path."""
        if problem := find_name_problem(value):
            self.fail(problem, param, ctx)
        return super().convert(value, param, ctx)


@contextmanager
def name_change() -> Iterator[None]:
    """Name the option that makes the change which a refusal proposes."""
    try:
        yield
    except NotEnoughMemoryError as error:
        if not error.change:
            raise
        raise NotEnoughMemoryError(error.problem, f"--set {error.change}") from error


class TokenValue(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """TOKEN=VALUE, a number for a token; the token may hold = itself."""

    name = "TOKEN=VALUE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """The token and its number."""
        token, _, number = str(value).rpartition("=")
        try:
            added = float(number)
        except ValueError:
            token = ""
        if token == "":
            self.fail(f"received {value!r}; expected TOKEN=VALUE, such as the=2.5", param, ctx)
        return token, added


def generation_settings(function: Function) -> Function:
    """Give a command an option for every setting of `generation`, made from the setting.

    An option that is not given is None, or () if it is a list.
    """
    from llm_timecycle.config.sections import list_section_keys  # pydantic: not for `--help`

    for key in reversed(list_section_keys()["generation"]):
        function = _make_option(key)(function)
    return function


def _collect_token_values(
    context: click.Context, option: click.Parameter, pairs: Sequence[tuple[str, float]]
) -> dict[str, float] | None:
    """The numbers by token; None if there are none."""
    numbers: dict[str, float] = {}
    for token, number in pairs:
        if token in numbers:
            raise UsageError(
                f"{option.opts[0]}: received two values for {token!r}, {numbers[token]:g} and "
                f"{number:g}; expected one"
            )
        numbers[token] = number
    return numbers or None


def _make_option(key: str) -> Callable[[Function], Function]:
    from llm_timecycle.config.sections import find_value_type
    from llm_timecycle.config.settings import GenerationSettings

    kind = find_value_type("generation", key)
    options: dict[type, dict[str, Any]] = {
        int: {"type": int, "metavar": "N"},
        float: {"type": float, "metavar": "F"},
        bool: {"is_flag": True, "default": None},
        list: {"metavar": "TEXT", "multiple": True},
        dict: {"type": TokenValue(), "multiple": True, "callback": _collect_token_values},
    }
    help_text = GenerationSettings.model_fields[key].description
    repeatable = " Repeatable." if options[kind].get("multiple") else ""
    flag = f"--{key.replace('_', '-')}"
    return click.option(flag, help=f"{help_text}{repeatable}", **options[kind])
