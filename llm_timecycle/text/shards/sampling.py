"""The part of a large text that a vocabulary is learned from: pieces at even distances.

Counting the words of ten gigabytes takes as long as encoding them, and the memory of BPE grows with
its text. A sample that is spread over all files and all places in them has the frequent tokens of
the whole, and they are what a vocabulary holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from llm_timecycle.text.chunks import Chunk
from llm_timecycle.text.corpus import Corpus, Document

SAMPLE_CHARACTERS = 200_000_000
"""A text of more characters is sampled."""
SAMPLE_PIECES = 800


@dataclass(frozen=True)
class Sample(Corpus):
    """A sample of a text. Its hash covers the hashes of the files, and where the pieces are.

    Attributes:
        pieces: how many places of the text it is from.
    """

    pieces: int

    @property
    def rule(self) -> str:
        """How it was drawn, in words: who has the text can draw it again."""
        length = self.count_characters() // self.pieces
        return (
            f"{self.pieces} pieces of {length} characters; piece k begins at character "
            f"k * (N - {length}) // {self.pieces - 1} of the N characters of the training text, "
            "k from 0; where it begins or ends inside a document, it is trimmed to whole lines and "
            "documents, or else to whole words"
        )

    def chunks(self) -> Iterator[Chunk]:
        """Its text, trimmed: what a piece has of a document is one chunk."""
        for part, chunk in read_parts(self.texts):
            trimmed = trim_chunk(chunk, begins=part.start == 0, ends=part.reaches_end)
            if trimmed.text:
                yield trimmed


def draw_sample(
    corpus: Corpus, characters: int = SAMPLE_CHARACTERS, pieces: int = SAMPLE_PIECES
) -> Sample:
    """A sample of `characters` of a text that has more, in pieces of the same length."""
    length = characters // pieces
    starts = find_starts(corpus.count_characters(), length, pieces)
    parts = [corpus.cut(start, start + length, corpus.name) for start in starts]
    texts = tuple(text for part in parts for text in part.texts)
    return Sample(f"a sample of {corpus.name}", texts, pieces)


def find_starts(total: int, length: int, pieces: int) -> list[int]:
    """Where pieces of a text begin that are equally far from one another, from end to end.

    >>> find_starts(total=100, length=4, pieces=4)
    [0, 32, 64, 96]
    """
    return [place * (total - length) // (pieces - 1) for place in range(pieces)]


def read_parts(parts: Iterable[Document]) -> Iterator[tuple[Document, Chunk]]:
    """Each part of a document with its text, in one chunk; parts are short, and in order.

    Parts of a compressed file are found in one pass over it: to reach any of them, all that is
    before it must be decompressed.
    """
    for file, group in groupby(parts, key=lambda part: part.file):
        same = list(group)
        if file.compression is None:
            for part in same:
                yield part, Chunk.join(part.chunks())
        else:
            yield from zip(same, _pick_parts(same), strict=True)


def _pick_parts(parts: list[Document]) -> Iterator[Chunk]:
    """The text of parts of one file, in one pass."""
    position = parts[0].start
    waiting, found = deque(parts), list[Chunk]()
    for chunk in parts[0].file.chunks(position, parts[-1].stop):
        length = len(chunk.text)
        while waiting and waiting[0].start < position + length:
            part = waiting[0]
            stop = length if part.stop is None else min(part.stop - position, length)
            found.append(chunk.cut(max(part.start - position, 0), stop))
            if part.stop is None or part.stop > position + length:  # the next chunk has the rest
                break
            yield Chunk.join(found)
            found = []
            waiting.popleft()
        position += length
    if waiting:
        yield Chunk.join(found)


def trim_chunk(chunk: Chunk, *, begins: bool, ends: bool) -> Chunk:
    """A piece of a document without the line, or else the word, that was cut at either end.

    Args:
        begins: whether it begins where the document does. ends: whether it ends there.

    >>> trim_chunk(Chunk("ne\\none\\ntwo\\nthr"), begins=False, ends=False)
    Chunk(text='one\\ntwo\\n', ends=())
    >>> trim_chunk(Chunk("ne two thr"), begins=False, ends=False).text
    ' two'
    """
    text, first, last = chunk.text, 0, len(chunk.text)
    if not begins:
        breaks = [*chunk.ends[:1], *([text.find("\n") + 1] if "\n" in text else [])]
        first = min(breaks, default=max(text.find(" "), 0))
    if not ends:
        breaks = [*chunk.ends[-1:], text.rfind("\n") + 1]
        last = max(breaks) or (text.rfind(" ") if " " in text else last)
    return chunk.cut(first, max(first, last))
