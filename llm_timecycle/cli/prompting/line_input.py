"""Input of `generate --interactive`: lines to answer, and Ctrl-C, which stops a text only."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import BinaryIO

from llm_timecycle.cli.prompting.prompts import open_standard_input, read_input_line


class Interruption:
    """A context in which Ctrl-C raises KeyboardInterrupt, or is only noted where that is safer.

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
    """A function that yields the lines typed at a terminal, or those of standard input.

    Args:
        completions: the commands that the Tab key completes.

    Raises UsageError if standard input is closed.
    """
    stdin = open_standard_input("--interactive")
    if not stdin.isatty():
        return lambda: _read_lines(stdin)
    from llm_timecycle.cli.prompting.prompt_session import (
        read_typed_lines,  # 80 ms that a pipe can save
    )

    return lambda: read_typed_lines(completions)


def _read_lines(stdin: BinaryIO) -> Iterator[str]:
    while line := read_input_line(stdin):
        yield line.rstrip("\r\n")
