"""A person at a terminal: lines with history, and Ctrl-C that stops a text and not the program."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import BinaryIO

import click

from llm_timecycle.cli.prompts import decode_input, open_standard_input
from llm_timecycle.errors import DataError

PROMPT = "> "
HISTORY_LINES = 1000


class Interruption:
    """While it is entered, Ctrl-C raises KeyboardInterrupt, or is noted where that would tear.

    Attributes:
        is_noted_only: whether the first Ctrl-C is noted and not raised; a second one is raised.
        has_come: whether one was noted.
    """

    def __init__(self) -> None:
        self.is_noted_only = False
        self.has_come = False

    def __enter__(self) -> Interruption:
        self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.has_come or not self.is_noted_only:
            raise KeyboardInterrupt
        self.has_come = True


def make_line_reader(completions: Sequence[str]) -> Callable[[], Iterator[str]]:
    """What gives the lines of the terminal, asked for one by one, or those of standard input.

    Raises UsageError where standard input is closed.
    """
    stdin = open_standard_input("--interactive")
    if not stdin.isatty():
        return lambda: _read_lines(stdin)
    return lambda: _ask_for_lines(completions)


def find_history_file() -> Path:
    """Where the lines of earlier sessions are kept."""
    import platformdirs

    return platformdirs.user_state_path("llm-timecycle", appauthor=False) / "history"


def _read_lines(stdin: BinaryIO) -> Iterator[str]:
    while True:
        try:
            line = stdin.readline()
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"standard input cannot be read: {reason}") from error
        if not line:
            return
        yield decode_input(line).rstrip("\r\n")


def _ask_for_lines(completions: Sequence[str]) -> Iterator[str]:
    click.echo("Type the beginning of a text, or /help. Ctrl-D leaves.", err=True)
    readline = _set_up_readline(completions)
    try:
        while True:
            try:
                line = _ask()
            except KeyboardInterrupt:
                click.echo("\nTo leave, type Ctrl-D or /quit.", err=True)
                continue
            except EOFError:
                click.echo(err=True)
                return
            except UnicodeDecodeError:
                click.echo("Error: that line is not UTF-8 text", err=True)
                continue
            yield line
    finally:
        if readline is not None:
            _save_history(readline)


def _ask() -> str:
    """One line; what asks for it does not go where texts go, unless both are the terminal."""
    if sys.stdout.isatty():
        return input(PROMPT)
    click.echo(PROMPT, nl=False, err=True)
    return input()


def _set_up_readline(completions: Sequence[str]) -> ModuleType | None:
    """Line editing, history and completion of commands, where Python has them."""
    try:
        import readline
    except ImportError:
        return None
    with contextlib.suppress(OSError):  # none yet, or not ours to read: history begins anew
        readline.read_history_file(find_history_file())
    readline.set_history_length(HISTORY_LINES)

    def complete(text: str, number: int) -> str | None:
        fitting = [name for name in completions if name.startswith(text)]
        return fitting[number] if text.startswith("/") and number < len(fitting) else None

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
    return readline


def _save_history(readline: ModuleType) -> None:
    file = find_history_file()
    with contextlib.suppress(OSError):  # a convenience; nothing is lost that anyone asked to keep
        file.parent.mkdir(parents=True, exist_ok=True)
        readline.write_history_file(file)
