"""Lines typed at a terminal, with editing, history and completion of commands.

Imported only when a terminal asks: it is the one file that needs prompt_toolkit.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click
import platformdirs
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.output import create_output
from prompt_toolkit.shortcuts import PromptSession

from llm_timecycle.files import open_for_appending, open_regular

PROMPT = "> "
HISTORY_LINES = 1000
HISTORY_BYTES = 1 << 20
"""At the end of the file, which hold these lines."""


class FileHistory(History):
    """Earlier lines in a text file, one per line, as readline keeps them.

    The history is a convenience: a file that cannot be read or written is ignored.

    Args:
        path: the file; it is created with the first line.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """The last `HISTORY_LINES` lines, newest first."""
        try:
            with open_regular(self._path) as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(size - HISTORY_BYTES, 0))
                content = file.read(min(size, HISTORY_BYTES))
        except OSError:
            return []
        lines = content.decode(errors="replace").splitlines()[size > HISTORY_BYTES :]
        return lines[: -HISTORY_LINES - 1 : -1]

    def store_string(self, string: str) -> None:
        """Append a line to the file."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open_for_appending(Path(os.path.realpath(self._path))) as file:
                file.write(f"{string}\n".encode(errors="replace"))


def open_history() -> History:
    """The lines that were typed before; only those of this session where there is no home."""
    try:
        state = platformdirs.user_state_path("llm-timecycle", appauthor=False)
    except RuntimeError:
        state = Path()
    return FileHistory(state / "history") if state.is_absolute() else InMemoryHistory()


def read_typed_lines(completions: Sequence[str]) -> Iterator[str]:
    """Prompt for lines until Ctrl-D.

    The prompt is shown on stdout if that is a terminal, else on stderr: a redirected stdout holds
    texts only.

    Args:
        completions: the commands that the Tab key completes.
    """
    click.echo("Type the start of a text, or /help. Ctrl-D leaves.", err=True)
    screen = sys.stdout if sys.stdout.isatty() else sys.stderr
    with create_app_session(output=create_output(screen)):
        session: PromptSession[str] = PromptSession(
            PROMPT,
            completer=WordCompleter(list(completions), ignore_case=True, sentence=True),
            complete_while_typing=False,
            enable_suspend=True,
            history=open_history(),
        )
        while True:
            try:
                typed = session.prompt()
            except KeyboardInterrupt:
                click.echo("To leave, press Ctrl-D or type /quit.", err=True)
            except EOFError:
                return
            else:
                yield from typed.split("\n")  # several lines if they were pasted
