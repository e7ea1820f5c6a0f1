"""Stop texts: generation ends where one appears, and nothing of it is shown."""

from __future__ import annotations

from collections.abc import Sequence


class StopSequenceFilter:
    """Lets text through as it grows, but holds back what may yet become a stop text.

    >>> watch = StopSequenceFilter(["END"])
    >>> watch.push("The E"), watch.push("N"), watch.push("CORE: EN"), watch.push("D. More")
    ('The ', '', 'ENCORE: ', '')
    >>> watch.has_stopped
    True

    Args:
        stop_sequences: texts of one character or more.
        held: what another watch over the same text still holds back.
    """

    def __init__(self, stop_sequences: Sequence[str], held: str = "") -> None:
        self._stop_sequences = tuple(stop_sequences)
        self._held = held
        self.has_stopped = False

    def push(self, piece: str) -> str:
        """Add a piece of text; what can be shown of it, and of what was held back before it.

        Once a stop text is complete nothing more is shown. Where several appear at once, the text
        ends at the one that begins first.
        """
        if self.has_stopped:
            return ""
        if not self._stop_sequences and not self._held:
            return piece
        text = self._held + piece
        starts = [start for stop in self._stop_sequences if (start := text.find(stop)) >= 0]
        if starts:
            self.has_stopped, self._held = True, ""
            return text[: min(starts)]
        shown = len(text) - self._measure_suspect(text)
        self._held = text[shown:]
        return text[:shown]

    def finish(self) -> str:
        """What is still held back when the text ends: it did not become a stop text."""
        held, self._held = self._held, ""
        return held

    def _measure_suspect(self, text: str) -> int:
        """The length of the longest end of `text` that begins a stop text."""
        longest = max((len(stop) - 1 for stop in self._stop_sequences), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stop_sequences):
                return length
        return 0
