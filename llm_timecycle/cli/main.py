"""The group of all commands, and where an error becomes a message and an exit code."""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from llm_timecycle import __version__
from llm_timecycle.cli.options import HELP
from llm_timecycle.cli.printing import escape_controls
from llm_timecycle.errors import Interrupted, TimecycleError, UsageError, WorkerLostError
from llm_timecycle.files import FULL_DISK, explain_os_error

COMMANDS = {
    "train": "Train a model on a text, or with a settings file.",
    "launch": "Train with several processes, started and watched together.",
    "evaluate": "Score a trained model on held-out text.",
    "generate": "Generate text from a trained model.",
    "profile": "Show where the time goes.",
    "serve": "Serve trained models over HTTP, with a page to write with.",
    "export": "Write a model for another program: ONNX, Keras, TensorFlow, LiteRT.",
    "runs": "List, show and compare trained runs.",
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

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """As click does, which prints help and version here."""
        with _ended_by_reader():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command, and write all of its output."""
        with _ended_by_reader():
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result

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
    _prepare_environment()
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
        if isinstance(error, WorkerLostError):
            _end_at_once(f"Error: {error}", error.exit_code)
        _end(f"Error: {error}", error.exit_code)
    except click.exceptions.Abort:
        _end("Stopped.", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _end("Stopped.", 130)
    except Exception as error:
        message, exit_code = _explain(error)
        if wants_traceback and exit_code == 1:
            raise
        _end(message, exit_code)


def _explain(error: Exception) -> tuple[str, int]:
    """The message and the exit code of an error that no command has explained."""
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        _abandon_stdout()
        return f"Error: cannot write: {explain_os_error(error)}", 1
    if isinstance(error, FileNotFoundError) and not _has_directory():
        return "Error: the current directory was deleted: change to another one, with cd", 2
    if isinstance(error, PermissionError) and error.filename is not None:
        return (
            f"Error: {error.filename}: {error.strerror}: check its permissions and those of the "
            f"directories above it",
            2,
        )
    if isinstance(error, MemoryError):
        found = f" ({error})" if str(error) else ""
        return f"Error: not enough memory for what was asked for{found}", 2
    return (
        f"Error: internal error: {type(error).__name__}: {error}\n"
        f"Run again with LLM_TIMECYCLE_DEBUG=1 for a traceback, and please report it.",
        1,
    )


def _has_directory() -> bool:
    """Whether the current directory still exists."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _prepare_environment() -> None:
    """Settle what libraries would ask the environment and the user's files for.

    Keras would take its backend and its number formats from `KERAS_*` and ~/.keras/keras.json,
    which other programs share, and write that file if it is missing; matplotlib would refuse to
    start with a backend it does not know, and charts need none.
    """
    for name in [name for name in os.environ if name.startswith("KERAS_")] + ["MPLBACKEND"]:
        os.environ.pop(name, None)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["KERAS_HOME"] = os.devnull
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # finding none takes 6 ms


class _Messages(io.FileIO):
    """Standard error that drops what nobody can read any more.

    A terminal that was closed, a pipe whose reader has left or a full disk ends no training.
    """

    def write(self, data: Any, /) -> int:
        """All of it, or none."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _prepare_streams() -> None:
    """Make standard streams that cannot fail, apart from an output that cannot be written.

    A character that the output's encoding lacks is written as an escape. A stream that the shell
    closed is None in Python, and the next file that is opened would get its number, so that what
    libraries print would be written into that file. Without standard error, messages are dropped;
    without standard output, nothing is started: UsageError.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # to the end
    elif _is_descriptor(sys.stderr, 2):
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Messages(2, "w", closefd=False)),
            encoding=sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )
    if sys.stdout is None:
        raise UsageError(
            "standard output is closed, and there is output to write: leave it open, or redirect "
            "it with > /dev/null"
        )
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_descriptor(stream: Any, number: int) -> bool:
    """Whether a stream writes to this descriptor, and not to something in its place."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return isinstance(raw, io.FileIO) and raw.fileno() == number


@contextmanager
def _ended_by_reader() -> Iterator[None]:
    """End the program quietly where the reader of its output has closed the pipe."""
    try:
        yield
    except BrokenPipeError:
        _abandon_stdout()
        raise click.exceptions.Exit(0) from None


def _abandon_stdout() -> None:
    """Drop what is still to be written, so that the end of the process does not fail too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_at_once(message: str, exit_code: int) -> None:
    """As `_end`; TensorFlow, at its own end, would wait for workers that are gone."""
    click.echo(escape_controls(message), err=True)
    sys.stderr.flush()
    os._exit(exit_code)


def _end(message: str, exit_code: int) -> None:
    click.echo(escape_controls(message), err=True)
    sys.exit(exit_code)
