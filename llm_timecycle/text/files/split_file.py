"""A file that holds many documents: a line, a paragraph or a record each."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from llm_timecycle.errors import DataError
from llm_timecycle.text.chunks import Chunk, find_cut
from llm_timecycle.text.files.records import RecordReader
from llm_timecycle.text.text_file import Landmark, Measure, TextFile

LONG_CHARACTERS = 1 << 20
"""A document longer than this is passed on in several chunks."""
BLANKS_AT_MOST = 1 << 20
"""Blank characters in a row: none of them can be passed on before it is known what follows."""
PARAGRAPH_BREAK = re.compile(r"\n\s*\n")
BLANK_LINES = re.compile(r"\s*\n")


class Split(NamedTuple):
    """Documents of a file.

    Attributes:
        chunk: their text, and where they end.
        position: the character of the file at which the next document begins, or separators
            before it; None if the last document goes on.
    """

    chunk: Chunk
    position: int | None


class SplitFile:
    """The documents of a text file; what separates them is not text, and empty ones are dropped.

    Args:
        file: the file.
        documents: `line`, `paragraph` or `record`.
        field: the column of CSV or the key of JSONL that holds the text; None finds it.

    Raises DataError for records if the file is not named as CSV, TSV or JSONL.
    """

    def __init__(self, file: TextFile, documents: str, field: str | None = None) -> None:
        self.file = file
        self.documents = documents
        self._given_field = field
        self.records = RecordReader(file, field) if documents == "record" else None
        self._measure: Measure | None = None

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self.file.path

    @property
    def size_bytes(self) -> int:
        """The size of the file on disk, in bytes."""
        return self.file.size_bytes

    @property
    def compression(self) -> str | None:
        """How the file is compressed, if it is."""
        return self.file.compression

    def measure(self, report: Callable[[int], object] | None = None) -> Measure:
        """Read the file once from start to end; later calls return the same result at once.

        Characters are those of the documents; a landmark's offset counts characters of the file.

        Args:
            report: called with the number of bytes of the file read since the last call.

        Raises DataError if the file cannot be read, or a record is broken.
        """
        if self._measure is None:
            landmarks = [Landmark(0, 0)]
            characters = documents = 0
            for chunk, position in self._split(self.file.scan(report), 0):
                characters += len(chunk.text)
                documents += len(chunk.ends)
                if position is not None:
                    landmarks.append(Landmark(characters, position))
            content = f"{self.file.measure().sha256} {self.documents}"
            if self.records is not None:
                content += f" {self.records.kind} {self.records.field}"
            sha256 = hashlib.sha256(content.encode()).hexdigest()
            self._measure = Measure(characters, sha256, landmarks, documents)
        return self._measure

    def describe(self) -> tuple[object, ...]:
        """What another process needs to measure the same file: see `shards.measuring`."""
        return (*self.file.describe(), self.documents, self._given_field)

    def accept(self, measure: Measure) -> None:
        """Take over what another process has measured."""
        self._measure = measure

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[Chunk]:
        """The documents from character `start` to before character `stop`, and where they end."""
        landmark = self._find_landmark(start) if start > 0 else Landmark(0, 0)
        position = landmark.characters
        for chunk, _ in self._split(self.file.read(landmark.offset), landmark.offset):
            length = len(chunk.text)
            first = max(start - position, 0)
            last = length if stop is None else min(stop - position, length)
            if first < last:
                yield chunk if last - first == length else chunk.cut(first, last)
            position += length
            if stop is not None and position >= stop:
                return

    def find_ends(self, position: int) -> tuple[int, int]:
        """The last end of a document at or before a character (0: the start), and the next one."""
        below = reached = self._find_landmark(position).characters
        for chunk in self.chunks(below):
            after = bisect_right(chunk.ends, position - reached)
            if after > 0:
                below = reached + chunk.ends[after - 1]
            if after < len(chunk.ends):
                return below, reached + chunk.ends[after]
            reached += len(chunk.text)
        return below, reached

    def _find_landmark(self, position: int) -> Landmark:
        """The last landmark at or before a character."""
        landmarks = self.measure().landmarks
        return landmarks[bisect_right(landmarks, position, key=attrgetter("characters")) - 1]

    def _split(self, pieces: Iterable[str], position: int) -> Iterator[Split]:
        if self.records is not None:
            return _gather(self.records.read(pieces, position))
        split = split_lines if self.documents == "line" else split_paragraphs
        return split(self._check_blanks(pieces), position)

    def _check_blanks(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces; DataError at one with which too many characters in a row are blank."""
        blanks = 0
        for piece in pieces:
            body = piece.rstrip()
            blanks = len(piece) - len(body) + (0 if body else blanks)
            if blanks > BLANKS_AT_MOST:
                raise DataError(
                    f"{self.path} has more than {BLANKS_AT_MOST:,} blank characters in a row: it "
                    f"is damaged, or is no text of many {self.documents}s. Set data.documents to "
                    f"file"
                )
            yield piece


def split_lines(pieces: Iterable[str], position: int) -> Iterator[Split]:
    """The lines of a text.

    Args:
        pieces: the text from the start of a line.
        position: the character at which it starts.
    """
    rest = ""
    for piece in pieces:
        rest += piece
        if cut := rest.rfind("\n") + 1:
            position += cut
            chunk = join_documents(rest[: cut - 1].split("\n"))
            rest = rest[cut:]
            if chunk.text:
                yield Split(chunk, position)
        elif cut := _cut_long(rest):
            yield Split(Chunk(rest[:cut]), None)
            position += cut
            rest = rest[cut:]
    if (chunk := join_documents([rest])).text:
        yield Split(chunk, position + len(rest))


def split_paragraphs(pieces: Iterable[str], position: int) -> Iterator[Split]:
    """The paragraphs of a text, which blank lines separate.

    Args:
        pieces: the text from the start of a paragraph, or of blank lines before it.
        position: the character at which it starts.
    """
    rest = ""
    is_before_text = True
    for piece in pieces:
        rest += piece
        if is_before_text:
            blank = BLANK_LINES.match(rest)
            cut = blank.end() if blank else 0
            position += cut
            rest = rest[cut:]
            is_before_text = not rest or rest.isspace()
        body = rest.rstrip()  # what follows may be the beginning of a break
        last_break = deque(PARAGRAPH_BREAK.finditer(body), maxlen=1)
        if last_break:
            start, cut = last_break[0].span()
            chunk = join_documents(PARAGRAPH_BREAK.split(body[:start]))
            position += cut
            rest = rest[cut:]
            yield Split(chunk, position)
        elif cut := _cut_long(rest):
            yield Split(Chunk(rest[:cut]), None)
            position += cut
            rest = rest[cut:]
    body = rest.rstrip()
    last_line, _, _ = rest[len(body) :].partition("\n")
    if (chunk := join_documents([body + last_line])).text:
        yield Split(chunk, position + len(rest))


def join_documents(documents: Iterable[str]) -> Chunk:
    """Whole documents as one chunk, without those that are empty or only white space.

    >>> join_documents(["one", " ", "two"])
    Chunk(text='onetwo', ends=(3, 6))
    """
    kept = [each for each in documents if each and not each.isspace()]
    return Chunk("".join(kept), tuple(accumulate(map(len, kept))))


def _gather(records: Iterable[tuple[str, int]]) -> Iterator[Split]:
    """Records, each with the position of its end, as chunks of about a megabyte."""
    documents: list[str] = []
    size = position = 0
    for text, position in records:
        if text and not text.isspace():  # else any number of them would be kept
            documents.append(text)
            size += len(text)
        if size >= LONG_CHARACTERS:
            yield Split(join_documents(documents), position)
            documents, size = [], 0
    if (chunk := join_documents(documents)).text:
        yield Split(chunk, position)


def _cut_long(text: str) -> int:
    """Where to cut a document that is too long; 0 if it is not. What follows is not blank."""
    if len(text) < LONG_CHARACTERS:
        return 0
    body = text.rstrip()
    return max(min(find_cut(body), len(body) - 1), 0)
