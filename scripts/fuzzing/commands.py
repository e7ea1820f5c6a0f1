"""The commands, called inside this process as a shell would call them."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click
from fuzzing.laws import Refused

from llm_timecycle.cli.main import group


@dataclass(frozen=True)
class Printed:
    """What a command printed."""

    output: str
    errors: str


def call_command(arguments: Sequence[str], stdin: bytes = b"") -> Printed:
    """Run a command; what it printed.

    Raises:
        TimecycleError: it was refused. Refused: click refused it.
    """
    with _replace_streams(stdin) as (output, errors):
        try:
            group.main([*arguments], prog_name="llm-timecycle", standalone_mode=False)
        except click.exceptions.Exit as end:
            if end.exit_code:
                raise Refused(errors(), end.exit_code) from None
        except click.exceptions.Abort:
            raise Refused("Stopped.", 130) from None
        except click.ClickException as error:
            raise Refused(error.format_message(), error.exit_code) from None
        return Printed(output(), errors())


@contextlib.contextmanager
def _replace_streams(stdin: bytes) -> Iterator[tuple[object, object]]:
    streams = sys.stdin, sys.stdout, sys.stderr
    written = [io.BytesIO(), io.BytesIO()]
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(each, encoding="utf-8", errors="backslashreplace", write_through=True)
        for each in written
    )
    try:
        yield (lambda: written[0].getvalue().decode(), lambda: written[1].getvalue().decode())
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
