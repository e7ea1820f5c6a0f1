"""Stop sequences: a text ends before the first one that appears in it."""

from __future__ import annotations

from collections.abc import Sequence


class StopSequenceFilter:
    """Passes text on as it grows, but holds back any end that may become a stop sequence.

    >>> stop = StopSequenceFilter(["END"])
    >>> stop.push("The E"), stop.push("N"), stop.push("CORE: EN"), stop.push("D. More")
    ('The ', '', 'ENCORE: ', '')
    >>> stop.has_stopped, stop.found
    (True, 'END')

    Args:
        stop_sequences: texts of one character or more.
        held: text that another filter over the same text still holds back.
    """

    def __init__(self, stop_sequences: Sequence[str], held: str = "") -> None:
        self._stop_sequences = tuple(stop_sequences)
        self._held = held
        self.has_stopped = False
        self.found: str | None = None

    def push(self, piece: str) -> str:
        """Add a piece of text; returns the text that can be shown now.

        Nothing is shown once a stop sequence is complete. If several appear at once, the text ends
        at the one that starts first.
        """
        if self.has_stopped:
            return ""
        if not self._stop_sequences and not self._held:
            return piece
        text = self._held + piece
        found = [(start, stop) for stop in self._stop_sequences if (start := text.find(stop)) >= 0]
        if found:
            start, self.found = min(found)
            self.has_stopped, self._held = True, ""
            return text[:start]
        shown = len(text) - self._count_held(text)
        self._held = text[shown:]
        return text[:shown]

    def finish(self) -> str:
        """The text still held back at the end: it did not become a stop sequence."""
        held, self._held = self._held, ""
        return held

    def _count_held(self, text: str) -> int:
        """The length of the longest end of `text` that is the start of a stop sequence."""
        longest = max((len(stop) - 1 for stop in self._stop_sequences), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stop_sequences):
                return length
        return 0
