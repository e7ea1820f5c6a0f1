"""The group of all commands, and where an error becomes a message and an exit code."""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import os
import sys
from pathlib import Path

import click

from llm_timecycle import __version__
from llm_timecycle.cli.options import HELP
from llm_timecycle.cli.printing import escape_controls
from llm_timecycle.errors import Interrupted, TimecycleError, UsageError
from llm_timecycle.files import FULL_DISK, explain_os_error

COMMANDS = {
    "train": "Train a model on a text, or with a settings file.",
    "evaluate": "Score a trained model on held-out text.",
    "generate": "Generate text from a trained model.",
    "profile": "Show where the time goes.",
    "serve": "Serve trained models over HTTP, with a page to write with.",
    "config": "Make, check and show settings.",
    "demo": "Show what shipped models write, train one for a minute, and compare.",
}


class LazyGroup(click.Group):
    """A group that imports a command's file only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, from its file."""
        if cmd_name not in COMMANDS:
            return None
        # Imported modules stay: collecting garbage among them is a tenth of the time to start.
        gc.disable()
        try:
            module = importlib.import_module(f"llm_timecycle.cli.{cmd_name}")
        finally:
            gc.freeze()
            gc.enable()
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a name that is not a command's is refused with the nearest that is."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from llm_timecycle.config.spelling import find_nearest

            nearest = find_nearest(args[0], COMMANDS)
            hint = f" Did you mean {nearest}?" if nearest else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; end quietly where the reader of our output has closed the pipe."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            _abandon_stdout()
            return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings=HELP)
@click.version_option(__version__, prog_name="llm-timecycle")
def group() -> None:
    """Train a small LSTM language model on your own text, generate from it, profile it."""


def main() -> None:
    """Run one command; end with its exit code, an error as one message on stderr."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # finding none takes 6 ms
    # At exit, Python would look for garbage among a million objects of TensorFlow, for a second.
    atexit.register(gc.freeze)
    wants_traceback = os.environ.get("LLM_TIMECYCLE_DEBUG") == "1"
    try:
        _prepare_streams()
        sys.exit(group.main(prog_name="llm-timecycle", standalone_mode=False))
    except Interrupted as stop:
        _end(f"{stop}", stop.exit_code)
    except TimecycleError as error:
        if wants_traceback:
            raise
        _end(f"Error: {error}", error.exit_code)
    except click.exceptions.Abort:
        _end("Stopped.", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _end("Stopped.", 130)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            _abandon_stdout()
            _end(f"Error: cannot write: {explain_os_error(error)}", 1)
        if wants_traceback:
            raise
        _end(
            f"Error: internal error: {type(error).__name__}: {error}\n"
            f"Run again with LLM_TIMECYCLE_DEBUG=1 for a traceback, and please report it.",
            1,
        )


def _prepare_streams() -> None:
    """Write a character that the output's encoding lacks as an escape instead of failing.

    A stream that the shell closed is None in Python. Without standard error, messages are dropped;
    without standard output, nothing is started: UsageError.
    """
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # to the end
    if sys.stdout is None:
        raise UsageError(
            "standard output is closed, and there is output to write: leave it open, or redirect "
            "it with > /dev/null"
        )
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _abandon_stdout() -> None:
    """Drop what is still to be written, so that the end of the process does not fail too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(message: str, exit_code: int) -> None:
    click.echo(escape_controls(message), err=True)
    sys.exit(exit_code)
