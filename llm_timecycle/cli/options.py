"""What several commands share: how help is asked for, and options."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

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
