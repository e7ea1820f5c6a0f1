"""Corpora: the files that a setting names, and their text as a stream.

Measuring and hashing a corpus takes one pass over its files, made when it is opened; reading a part
of it starts near the part, not at the start of its file.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llm_timecycle.config.text_settings import DataSettings
from llm_timecycle.errors import DataError
from llm_timecycle.text.chunks import Chunk
from llm_timecycle.text.files.compression import find_kind
from llm_timecycle.text.files.find import RECORD_KINDS, describe_kinds, find_files
from llm_timecycle.text.files.split_file import SplitFile
from llm_timecycle.text.shards.measuring import measure_files
from llm_timecycle.text.text_file import TextFile

COPIES_NAMED = 3
UTF_8_FILES = DataSettings()
"""How files are read unless the settings say otherwise: UTF-8, and each a document."""

log = logging.getLogger("llm_timecycle")


@dataclass(frozen=True)
class Document:
    """The text of a file, or the characters of it from `start` to before `stop` (None: to its end).

    It is one document, or many: as `file` splits it.
    """

    file: TextFile | SplitFile
    start: int = 0
    stop: int | None = None

    @property
    def name(self) -> str:
        """The path of the file, for messages."""
        return str(self.file.path)

    @property
    def reaches_end(self) -> bool:
        """Whether the text ends where its file ends, and not at a cut."""
        return self.stop is None

    @property
    def is_many(self) -> bool:
        """Whether the file holds many documents: lines, paragraphs or records."""
        return isinstance(self.file, SplitFile)

    def chunks(self) -> Iterator[Chunk]:
        """The text in pieces of about a megabyte that end where words end, if possible.

        Raises DataError if the file cannot be read as its settings say.
        """
        return self.file.chunks(self.start, self.stop)

    def count_characters(self) -> int:
        """How many characters the text has."""
        stop = self.file.measure().characters if self.stop is None else self.stop
        return stop - self.start

    def count_bytes(self) -> float:
        """How many bytes of the disk the text takes: of a part of a file, its share."""
        share = self.count_characters() / max(self.file.measure().characters, 1)
        return share * self.file.size_bytes

    def cut(self, start: int, stop: int) -> Document:
        """The part from character `start` to before character `stop` of this text."""
        is_end = self.reaches_end and stop == self.count_characters()
        return Document(self.file, self.start + start, None if is_end else self.start + stop)


@dataclass(frozen=True)
class Corpus:
    """A sequence of documents; none of their text is kept in memory.

    Attributes:
        name: its name in messages.
        texts: the documents, in order.
    """

    name: str
    texts: tuple[Document, ...]

    def documents(self) -> Iterator[Document]:
        """The documents in order; an empty part of a corpus has none."""
        return iter(self.texts)

    def chunks(self) -> Iterator[Chunk]:
        """The chunks of every document, as `Document.chunks` cuts them."""
        return (chunk for document in self.texts for chunk in document.chunks())

    def count_characters(self) -> int:
        """How many characters the documents have together."""
        return sum(document.count_characters() for document in self.texts)

    def count_bytes(self) -> int:
        """How many bytes of the disk the documents take; of a part of a file, its share."""
        return round(sum(document.count_bytes() for document in self.texts))

    def sha256(self) -> str:
        """A hash (in hex) of the text of every document and of where the documents end.

        File names and locations do not matter. The hash of a part covers its files and its cuts,
        so it changes whenever the text of the part does.
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
    spec: str | list[str],
    base: Path,
    cache: Path,
    show_progress: bool = False,
    how: DataSettings = UTF_8_FILES,
) -> Corpus:
    """The corpus that a setting names; every file is read once, to measure it.

    Files that are the same, or have the same text, are read as one; the log says so, and how many
    files a directory, a glob or a list gives.

    Args:
        spec: a file, a directory, a glob (`**` for any depth), a built-in name (python-docs,
            sample-english, sample-chinese), or a list of these; see `find_files`.
        base: the directory that relative paths start from.
        cache: the directory for the extracted text of python-docs.
        show_progress: whether to show progress bars on stderr.
        how: its `encoding`, `documents` and `field` say how the files are read.

    Raises DataError for a missing or empty file, a directory or glob without text, and anything
    that cannot be read as the settings say.
    """
    specs = [spec] if isinstance(spec, str) else spec
    name = specs[0] if len(specs) == 1 else f"{specs[0]} and {len(specs) - 1} more"
    files: dict[Path, TextFile] = {}
    links: list[tuple[Path, Path]] = []
    passed_over: Counter[str] = Counter()
    are_listed = len(specs) > 1
    for item in specs:
        found = find_files(item, base, cache, show_progress, how.documents == "record")
        encoding = "utf-8" if found.is_built_in else how.encoding
        opened = [TextFile(path, encoding, sha256=found.sha256) for path in found.paths]
        texts = [file for file in opened if not file.is_empty]
        if not texts:
            raise DataError(
                f"{base / item} has only empty files; expected text in at least one of them"
                if found.many
                else f"{found.paths[0]} is empty; expected text"
            )
        are_listed |= found.many
        passed_over += found.passed_over
        passed_over["empty"] += len(opened) - len(texts)
        for file in texts:
            first = files.setdefault(file.path.resolve(), file)
            if os.path.normpath(first.path) != os.path.normpath(file.path):
                links.append((file.path, first.path))
    corpus, copies = _read_once(name, list(files.values()), how, show_progress)
    if are_listed:
        _report_files(corpus, passed_over)
    _report_copies(links + copies)
    if how.documents != "file":
        documents = sum(text.file.measure().documents for text in corpus.texts)
        log.info("%s: documents: %s, a %s each", name, f"{documents:,}", how.documents)
    elif find_kind(corpus.texts[0].file.path) in RECORD_KINDS:
        log.info(
            "%s is read as it stands, with its column names and quotes; to read one text of each "
            "record, set data.documents to record",
            corpus.texts[0].name,
        )
    return corpus


def _read_once(
    name: str,
    files: list[TextFile],
    how: DataSettings,
    show_progress: bool,
) -> tuple[Corpus, list[tuple[Path, Path]]]:
    """The corpus of files, measured, without those whose text is that of an earlier one.

    With it, each file that was left out, and the one that has its text.
    """
    split = how.documents != "file"
    sources: list[TextFile | SplitFile] = [
        SplitFile(file, how.documents, how.field) if split else file for file in files
    ]
    corpus = Corpus(name, tuple(map(Document, sources)))
    measure_files(name, sources, show_progress)
    originals: dict[str, Document] = {}
    copies = []
    for text in corpus.texts:
        original = originals.setdefault(text.file.measure().sha256, text)
        if original is not text:
            copies.append((text.file.path, original.file.path))
    return Corpus(name, tuple(originals.values())), copies


def _report_files(corpus: Corpus, passed_over: Counter[str]) -> None:
    """One line about the files of a directory, a glob or a list."""
    first, last = corpus.texts[0].name, corpus.texts[-1].name
    line = f"{corpus.name}: {len(corpus.texts):,} files are read, {first} first and {last} last"
    if len(corpus.texts) == 1:
        line = f"{corpus.name}: one file is read, {first}"
    if passed_over := +passed_over:
        line += f"; passed over: {describe_kinds(passed_over)}"
    log.info(line)


def _report_copies(copies: list[tuple[Path, Path]]) -> None:
    for copy, original in copies[:COPIES_NAMED]:
        log.info("%s has the same text as %s: read once", copy, original)
    if len(copies) > COPIES_NAMED:
        more = len(copies) - COPIES_NAMED
        files = "1 more file is a copy" if more == 1 else f"{more:,} more files are copies"
        log.info("%s too: read once", files)
