"""Corpora: one or many texts, read as a stream, and cut by position into parts.

A corpus is a row of documents. Its length and hash take one pass over the files, made when first
asked for and remembered; reading a part begins near the part, not at the start of its file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from llm_timecycle.text.corpus_find import find_text_files
from llm_timecycle.text.text_file import TextFile

LINE_CHARACTERS_AT_MOST = 1000


@dataclass(frozen=True)
class Document:
    """A text file, or the characters of one from `start` to before `stop` (None: to its end)."""

    file: TextFile
    start: int = 0
    stop: int | None = None

    @property
    def name(self) -> str:
        """The path of the file, for messages."""
        return str(self.file.path)

    @property
    def reaches_end(self) -> bool:
        """Whether the document ends where its file ends, and not at a cut."""
        return self.stop is None

    def chunks(self) -> Iterator[str]:
        """The text in pieces of about a megabyte, which join to the whole of it.

        A piece ends after a line break; in a line longer than a megabyte, before a space; where
        there is not even a space, anywhere between two characters. Raises DataError if the file
        is not UTF-8 or is damaged.
        """
        return _gather_lines(self.file.read(self.start, self.stop))

    def count_characters(self) -> int:
        """How many characters the document has."""
        stop = self.file.measure().characters if self.stop is None else self.stop
        return stop - self.start

    def cut(self, start: int, stop: int) -> Document:
        """The part from character `start` to before character `stop` of this document."""
        is_end = self.reaches_end and stop == self.count_characters()
        return Document(self.file, self.start + start, None if is_end else self.start + stop)


@dataclass(frozen=True)
class Corpus:
    """A row of documents; nothing of their text is kept in memory.

    Attributes:
        name: what messages call it.
        texts: the documents, in order.
    """

    name: str
    texts: tuple[Document, ...]

    def documents(self) -> Iterator[Document]:
        """The documents in order; none of a corpus that is the empty part of another."""
        return iter(self.texts)

    def measure(self, show_progress: bool = False) -> None:
        """Read every file once, so that lengths and hashes are known; at once if they are.

        Raises DataError if a file is not UTF-8 or is damaged.
        """
        files = {document.file.path: document.file for document in self.texts}
        is_known = not any(file.is_compressed for file in files.values())
        with tqdm(
            desc=f"reading {self.name}",
            total=sum(file.size_bytes for file in files.values()) if is_known else None,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=not show_progress,
        ) as bar:
            for file in files.values():
                file.measure(bar.update)

    def count_characters(self) -> int:
        """How many characters the documents have together."""
        return sum(document.count_characters() for document in self.texts)

    def sha256(self) -> str:
        """A hash (in hex) of the text of every document and of where the documents end.

        Names and places of files do not enter. A part's hash is that of its files and its cuts,
        so that it too changes whenever its text does.
        """
        digest = hashlib.sha256()
        for document in self.texts:
            stop = document.start + document.count_characters()
            line = f"{document.file.measure().sha256} {document.start} {stop}\n"
            digest.update(line.encode())
        return digest.hexdigest()

    def cut(self, start: int, stop: int, name: str) -> Corpus:
        """The part from character `start` to before character `stop`, called `name`."""
        parts = []
        position = 0
        for document in self.texts:
            length = document.count_characters()
            first, last = max(start - position, 0), min(stop - position, length)
            if first < last:
                parts.append(document.cut(first, last))
            position += length
        return Corpus(name, tuple(parts))


def open_corpus(
    spec: str | list[str], base: Path, cache: Path, show_progress: bool = False
) -> Corpus:
    """The corpus that a setting means; no more than the first bytes of its files are read.

    Args:
        spec: a file (`.gz`: compressed), a directory (every `.txt` and `.gz` below it, sorted),
            a glob (`**` for any depth, sorted), a built-in name (python-docs, sample-english,
            sample-chinese), or a list of these. A file that is meant twice is read once.
        base: the directory that relative paths begin at.
        cache: the directory that keeps the extracted text of python-docs.
        show_progress: whether an extraction shows a bar on stderr.

    Raises DataError for a missing or empty file, a directory or glob with no text, and whatever
    cannot be read.
    """
    specs = [spec] if isinstance(spec, str) else spec
    files: dict[Path, TextFile] = {}
    for item in specs:
        for file in find_text_files(item, base, cache, show_progress):
            files.setdefault(file.path.resolve(), file)
    name = specs[0] if len(specs) == 1 else f"{specs[0]} and {len(specs) - 1} more"
    return Corpus(name, tuple(Document(file) for file in files.values()))


def split_corpus(
    corpus: Corpus, valid_fraction: float, test_fraction: float, show_progress: bool = False
) -> tuple[Corpus, Corpus | None, Corpus | None]:
    """Cut a corpus by position into training, validation and test text, in this order.

    Validation begins at 1 - valid_fraction - test_fraction of the characters, the test text at
    1 - test_fraction; both move on to the next start of a line, unless it is more than 1,000
    characters away. The parts join to the whole. A fraction of 0 gives None; a part of a very
    short text can be empty. Raises DataError if a file is not UTF-8 or is damaged.
    """
    corpus.measure(show_progress)
    total = corpus.count_characters()
    test_start = _find_line_start(corpus, total - round(total * test_fraction))
    valid_start = _find_line_start(corpus, total - round(total * (valid_fraction + test_fraction)))
    return (
        corpus.cut(0, valid_start, f"the training part of {corpus.name}"),
        corpus.cut(valid_start, test_start, f"the validation part of {corpus.name}")
        if valid_fraction
        else None,
        corpus.cut(test_start, total, f"the test part of {corpus.name}") if test_fraction else None,
    )


def _find_line_start(corpus: Corpus, position: int) -> int:
    """The first start of a line (or of a document) at or after a character position."""
    if position <= 0:
        return 0
    window = corpus.cut(position - 1, position + LINE_CHARACTERS_AT_MOST, corpus.name)
    text = "".join(chunk for document in window.texts[:1] for chunk in document.chunks())
    found = text.find("\n")
    if found >= 0:
        return position + found
    ends_soon = len(window.texts) > 1 or (len(window.texts) == 1 and window.texts[0].reaches_end)
    return position - 1 + len(text) if ends_soon else position


def _gather_lines(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces of text, joined and cut anew so that they end at a good place."""
    rest = ""
    for piece in pieces:
        rest += piece
        cut = _find_cut(rest)
        yield rest[:cut]
        rest = rest[cut:]
    if rest:
        yield rest


def _find_cut(text: str) -> int:
    """Where to end a piece that begins like `text`: at least one character from its start."""
    if after_break := text.rfind("\n") + 1:
        return after_break
    space = text.rfind(" ")
    return space if space > 0 else len(text)
