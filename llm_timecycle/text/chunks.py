"""A stretch of text on its way from a file to token ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import NamedTuple

from llm_timecycle.text.tokenizer.normalization import find_border


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

    def cut(self, start: int, stop: int) -> Chunk:
        """Part of the chunk; a document that ends at its start belongs to what is before it."""
        ends = tuple(end - start for end in self.ends if start < end <= stop)
        return Chunk(self.text[start:stop], ends)

    @classmethod
    def join(cls, chunks: Iterable[Chunk]) -> Chunk:
        """Chunks that follow one another as one.

        >>> Chunk.join([Chunk("one"), Chunk("two", (3,))])
        Chunk(text='onetwo', ends=(6,))
        """
        texts: list[str] = []
        ends: list[int] = []
        length = 0
        for chunk in chunks:
            texts.append(chunk.text)
            ends.extend(length + end for end in chunk.ends)
            length += len(chunk.text)
        return cls("".join(texts), tuple(ends))


def gather_lines(pieces: Iterator[str]) -> Iterator[str]:
    """Pieces of text, recut so that each ends where words end, if possible."""
    rest = ""
    for piece, following in pairwise(chain(pieces, [""])):
        rest += piece
        cut = find_cut(rest, following)
        yield rest[:cut]
        rest = rest[cut:]
    if rest:
        yield rest


def find_cut(text: str, following: str = "") -> int:
    """Where to cut `text`: after its last line break, else before its last space, else its end.

    A space after a punctuation mark is better than one after a word, which is no token of its own
    at word level. At the end of `text`, nothing is cut off from a mark that `following` begins
    with.
    """
    if after_break := text.rfind("\n") + 1:
        return after_break
    if after_mark := max(text.rfind(f"{mark} ") for mark in ".,;:!?") + 1:
        return after_mark
    space = text.rfind(" ")
    return space if space > 0 else find_border(text, following)
