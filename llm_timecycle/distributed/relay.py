"""What a worker prints, on its way to the user: lines with its number, and one bar, the chief's.

The message with which a worker ends is held back. Where one worker fails, all end with a message;
whoever started them shows the one that matters.
"""

from __future__ import annotations

from collections.abc import Callable

_ENDINGS = (b"Error: ", b"Stopped")
"""How the last message of a command begins, as `cli/main.py` prints it."""
_CLEAR = b"\r\x1b[K"  # the line of a terminal, on which a bar may stand


class LineRelay:
    """Passes on whole lines, each with a prefix.

    >>> relay = LineRelay("[1] ", lambda shown: print(shown.decode(), end=""))
    >>> relay.feed(b"one\\ntw")
    [1] one
    >>> relay.feed(b"o\\nError: the text is too short\\n")
    [1] two
    >>> relay.close(), relay.message
    (None, 'Error: the text is too short')

    Args:
        prefix: before each line.
        write: takes whole lines.
        on_bar: whether a bar of another worker may stand on the current line.
    """

    def __init__(
        self, prefix: str, write: Callable[[bytes], object], *, on_bar: bool = False
    ) -> None:
        self._prefix = (_CLEAR if on_bar else b"") + prefix.encode()
        self._write = write
        self._line = b""
        self._held: bytes | None = None

    @property
    def message(self) -> str:
        """What was held back; "" where the worker ended without a message."""
        return (self._held or b"").decode(errors="replace").strip()

    def feed(self, received: bytes) -> None:
        """Take what was printed."""
        *lines, self._line = (self._line + received).split(b"\n")
        for line in lines:
            self._pass_on(line)

    def close(self) -> None:
        """There is no more."""
        if self._line:
            self._pass_on(self._line)
        self._line = b""

    def _pass_on(self, line: bytes) -> None:
        if self._held is not None or line.startswith(_ENDINGS):
            self._held = (self._held or b"") + line + b"\n"
            return
        shown = line.rstrip(b"\r").rpartition(b"\r")[2]  # of a bar, its last state
        self._write(self._prefix + shown + b"\n")


class BarRelay:
    """Passes on everything as it comes, bars included, up to the last message.

    Args:
        write: takes bytes.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._pending = b""
        self._shown = b""  # the last byte that was passed on
        self._is_held = False

    @property
    def message(self) -> str:
        """What was held back; "" where the worker ended without a message."""
        return self._pending.decode(errors="replace").strip() if self._is_held else ""

    def feed(self, received: bytes) -> None:
        """Take what was printed."""
        self._pending += received
        while self._pending and not self._is_held:
            if self._shown in b"\n\r":
                if self._pending.startswith(_ENDINGS):
                    self._is_held = True
                    return
                if any(ending.startswith(self._pending) for ending in _ENDINGS):
                    return  # what follows tells
            self._pass_on(self._find_end())

    def close(self) -> None:
        """There is no more; what comes next begins on a new line."""
        if not self._is_held:
            self._pass_on(len(self._pending))
        if self._shown not in b"\n":
            self._write(b"\n")

    def _find_end(self) -> int:
        """Where what can be passed on ends: after a line, or the state of a bar."""
        ends = [at + 1 for mark in b"\n\r" if (at := self._pending.find(mark)) >= 0]
        return min(ends, default=len(self._pending))

    def _pass_on(self, length: int) -> None:
        passed, self._pending = self._pending[:length], self._pending[length:]
        if passed:
            self._write(passed)
            self._shown = passed[-1:]
