"""A stretch of text on its way from a file to token ids."""

from __future__ import annotations

from typing import NamedTuple


class Chunk(NamedTuple):
    """About a megabyte of text, and where documents end in it.

    Joined, the texts of the chunks of a corpus are its text. What separates two documents (a line
    break, a blank line, the rest of a CSV row) is not part of the text.
    """

    text: str
    ends: tuple[int, ...] = ()
    """Offsets in `text`, in order, at which a document ends: `<eos>` follows there, and the next
    document begins with a fresh state. `len(text)` is the end of the chunk."""
