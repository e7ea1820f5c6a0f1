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

    def split(self) -> list[str]:
        """The text of each document that ends here, then of one that does not, if there is one.

        >>> Chunk("onetwoth", (3, 6)).split(), Chunk("one", (3,)).split(), Chunk("on").split()
        (['one', 'two', 'th'], ['one'], ['on'])
        """
        starts, ends = (0, *self.ends), (*self.ends, len(self.text))
        texts = [self.text[start:end] for start, end in zip(starts, ends, strict=True)]
        return texts if texts[-1] else texts[:-1]
