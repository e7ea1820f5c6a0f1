"""What several commands share: how help is asked for, and sets of options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

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
        help="Set one setting in place of the file's, such as training.epochs=3. Repeatable.",
    )(function)


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
    """Give a command an option for every setting of `generation`, under the setting's name.

    None, or () for a repeatable one, where it is not given.
    """
    for option in reversed(_GENERATION_OPTIONS):
        function = option(function)
    return function


def _number(flag: str, kind: type, help_text: str) -> Callable[[Function], Function]:
    metavar = "N" if kind is int else "F"
    return click.option(flag, type=kind, metavar=metavar, help=help_text)


_GENERATION_OPTIONS: tuple[Callable[..., Any], ...] = (
    _number("--length", int, "Tokens to generate at most."),
    _number(
        "--temperature",
        float,
        "Below 1 plays safe, above 1 takes risks, 0 always takes the likeliest token.",
    ),
    _number("--top-k", int, "Draw from the N likeliest tokens only."),
    _number("--top-p", float, "Draw from the fewest tokens that together have this probability."),
    _number(
        "--min-p",
        float,
        "Leave out tokens less likely than this share of the likeliest one's probability.",
    ),
    _number(
        "--typical-p",
        float,
        "Draw from the tokens whose surprise is nearest to what is expected, the fewest that "
        "together have this probability.",
    ),
    _number(
        "--repetition-penalty",
        float,
        "Above 1 makes tokens that have already appeared, in the prompt too, less likely.",
    ),
    _number("--presence-penalty", float, "Take F off the logit of a token that has appeared."),
    _number(
        "--frequency-penalty",
        float,
        "Take F off the logit of a token for each time it has appeared.",
    ),
    click.option(
        "--bias",
        type=TokenValue(),
        multiple=True,
        help="Add VALUE to the logit of a token. Repeatable.",
    ),
    click.option(
        "--ban", multiple=True, metavar="TOKEN", help="Never produce this token. Repeatable."
    ),
    click.option(
        "--allow-unknown",
        is_flag=True,
        default=None,
        help="Let <unk> be produced, the token for all that is not in the vocabulary.",
    ),
    _number("--beams", int, "Above 1, search for the likeliest text with N beams; draw nothing."),
    _number(
        "--length-penalty",
        float,
        "With --beams, how far a long text is forgiven for being less likely than a short one.",
    ),
    _number("--seed", int, "The same seed gives the same text."),
    click.option(
        "--stop",
        multiple=True,
        metavar="TEXT",
        help="End where this text appears, and do not print it. Repeatable.",
    ),
)
