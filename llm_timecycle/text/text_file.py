"""One text file, read as a stream: decoded strictly, a megabyte at a time.

A file is never held in memory as a whole. Byte order marks are dropped, at the start and where
files were joined, and every line ending (LF, CR LF, CR) becomes one line feed; nothing else
changes. What is not valid in the file's encoding is an error, and so is a NUL. A compressed file
counts as its content.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import logging
import os
import shlex
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from llm_timecycle.errors import DataError
from llm_timecycle.files import UnfitFileError, open_regular
from llm_timecycle.text.chunks import Chunk, gather_lines
from llm_timecycle.text.files.compression import DAMAGE, find_compression, open_content
from llm_timecycle.text.files.diagnosis import (
    Place,
    explain_damage,
    explain_invalid,
    explain_nul,
    explain_order,
    find_nul,
)
from llm_timecycle.text.files.encodings import (
    MARKS,
    find_mark,
    guess_encoding,
    resolve_encoding,
)
from llm_timecycle.text.files.formats import HEAD_BYTES, refuse_formats

BLOCK_BYTES = 1 << 20
PENDING_BYTES_AT_MOST = 1 << 20
"""Without a whole character among them."""
CONTEXT_CHARACTERS = 10_000  # kept of the text read last, to explain what comes next
MARK = "\ufeff"

log = logging.getLogger("llm_timecycle")


class Landmark(NamedTuple):
    """A position in a file where reading can start: characters before it, and its byte offset."""

    characters: int
    offset: int


class Measure(NamedTuple):
    """The result of one pass over a file: its length, its SHA-256 (in hex), its landmarks."""

    characters: int
    sha256: str
    landmarks: list[Landmark]
    documents: int = 1


class _Identity(NamedTuple):
    """What changes when a file is written to or replaced."""

    size: int
    mtime_ns: int
    inode: int
    device: int


class TextFile:
    """A text file on disk, which must not change while the program runs.

    Args:
        path: the file; a name that ends in `.gz` or `.zst` means that it is compressed.
        encoding: the name of an encoding, or `auto` to guess it and say so in the log.
        may_be_html: whether an HTML page is a text.
        sha256: what the text must hash to, in hex; None takes any.

    Raises DataError if the file is missing, is not a regular file, cannot be opened, is not
    compressed as its name says, or is of a format other than text (PDF, Word, HTML, ...).
    """

    def __init__(
        self,
        path: Path,
        encoding: str = "utf-8",
        *,
        may_be_html: bool = False,
        sha256: str | None = None,
    ) -> None:
        self.path = path
        self.compression = find_compression(path)
        self._given_encoding, self._given_sha256 = encoding, sha256
        self._measure: Measure | None = None
        with self._explain_errors(), open_regular(path) as file:
            self._identity = _identify(file)
        with self._open() as (_, stream):
            head = stream.read(HEAD_BYTES)
        refuse_formats(path, head, may_be_html)
        self.is_empty = head in (b"", *MARKS)

    @property
    def size_bytes(self) -> int:
        """The size of the file on disk, in bytes."""
        return self._identity.size

    @cached_property
    def encoding(self) -> str:
        """The name of Python's codec that the file is read with."""
        if self._given_encoding == "auto":
            name = self._guess_encoding()
            log.info("%s: read as %s", self.path, name)
            return codecs.lookup(name).name
        with self._open() as (_, stream):
            head = stream.read(HEAD_BYTES)
        if (codec := resolve_encoding(self._given_encoding, head)) is None:
            raise DataError(explain_order(self.path, self._given_encoding))
        mark = find_mark(head)
        if codec != "utf-8" and mark is not None and mark != codec:
            raise DataError(
                f"{self.path} begins with the mark of {mark}, so it is not {self._given_encoding}. "
                f"Set data.encoding to {mark}, or to auto"
            )
        return codec

    def find_ends(self, position: int) -> tuple[int, int]:
        """The last end of a document at or before a character (0: the start), and the next one."""
        return 0, self.measure().characters

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[Chunk]:
        """The text from character `start` to before `stop`, as a document that ends with the file.

        A chunk ends after a line break; in a line longer than a megabyte, before a space; without
        even a space, between any two characters. Raises DataError as `read` does.
        """
        last = ""
        for text in gather_lines(self.read(start, stop)):
            if last:
                yield Chunk(last)
            last = text
        if last:
            yield Chunk(last, (len(last),) if stop is None else ())

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[str]:
        """The text from character `start` to before character `stop`, in pieces.

        Raises DataError, with the byte offset, if the file is not text in its encoding; and if it
        is damaged, or has changed since it was opened first.
        """
        landmark = Landmark(0, 0)
        if start > 0:
            landmarks = self.measure().landmarks
            after = bisect_right(landmarks, start, key=attrgetter("characters"))
            landmark = landmarks[after - 1]
        position = landmark.characters
        with self._open() as (file, stream):
            stream.seek(landmark.offset)
            for text, _, _ in self._decode(file, stream, landmark.offset):
                end = None if stop is None else max(stop - position, 0)
                if piece := text[max(start - position, 0) : end]:
                    yield piece
                position += len(text)
                if stop is not None and position >= stop:
                    return

    def measure(self, report: Callable[[int], object] | None = None) -> Measure:
        """Read the file once from start to end; later calls return the same result at once.

        Args:
            report: called with the number of bytes of the file read since the last call.

        Raises DataError as `read` does.
        """
        if self._measure is None:
            for _ in self.scan(report):
                pass
        assert self._measure is not None
        return self._measure

    def scan(self, report: Callable[[int], object] | None = None) -> Iterator[str]:
        """The whole text in pieces; when the last one is taken, the file is measured too.

        Args and errors are those of `measure`.
        """
        digest = hashlib.sha256()
        landmarks = [Landmark(0, 0)]
        characters = reported = 0
        with self._open() as (file, stream):
            for text, offset, can_start in self._decode(file, stream, 0):
                digest.update(self._encode(text, offset))
                if report is not None:
                    report(file.tell() - reported)
                    reported = file.tell()
                characters += len(text)
                if can_start:
                    landmarks.append(Landmark(characters, offset))
                yield text
        if self._given_sha256 not in (None, digest.hexdigest()):
            raise DataError(self._explain_change())
        self._measure = Measure(characters, digest.hexdigest(), landmarks)

    def describe(self) -> tuple[str, str, str | None, tuple[int, ...]]:
        """What another process needs to measure the same file: see `shards.measuring`."""
        return str(self.path), self.encoding, self._given_sha256, tuple(self._identity)

    def accept(self, measure: Measure) -> None:
        """Take over what another process has measured."""
        self._measure = measure

    def _encode(self, text: str, offset: int) -> bytes:
        """Text as UTF-8; DataError for half a character, which a few encodings can spell."""
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{self.path} is not {self.encoding.upper()} text: before the byte at offset "
                f"{offset}, it spells half of a character, U+{ord(text[error.start]):04X}. Set "
                f"data.encoding to its encoding, or convert it to UTF-8"
            ) from None

    def _decode(
        self, file: BinaryIO, stream: BinaryIO, offset: int
    ) -> Iterator[tuple[str, int, bool]]:
        """Pieces of text; `stream` is the content of `file` at `offset`, between two characters.

        With each piece, the byte offset of its end, and whether decoding can start there afresh.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)()
        _, initial_state = decoder.getstate()
        pending, held, before = b"", "", ""
        is_last = False
        while not is_last:
            block = stream.read(BLOCK_BYTES)
            self._check_identity(file)  # also here: a file that grows may never end
            is_last = not block
            try:
                text = held + decoder.decode(block, is_last)
            except UnicodeDecodeError as error:
                place = Place(self.path, self.encoding, before, error.object, error.start, offset)
                is_end = is_last and error.end == len(error.object)
                raise DataError(explain_invalid(place, is_end)) from None
            if b"\0" in block and "\0" in text:
                data = pending + block
                start = find_nul(data, self.encoding)
                raise DataError(
                    explain_nul(Place(self.path, self.encoding, before, data, start, offset))
                )
            offset += len(pending) + len(block)
            pending, state = decoder.getstate()
            offset -= len(pending)
            if len(pending) > PENDING_BYTES_AT_MOST:
                raise DataError(
                    f"{self.path} is not {self.encoding.upper()} text: from the byte at offset "
                    f"{offset} on, {len(pending):,} bytes hold no whole character. Set "
                    f"data.encoding to its encoding"
                )
            del block  # kept until the next one is read, it would cost page faults
            if MARK in text:
                text = text.replace(MARK, "")
            held = "\r" if text.endswith("\r") and not is_last else ""  # a line feed may follow
            if text := unify_line_breaks(text[: len(text) - len(held)]):
                yield text, offset, state == initial_state and not held
                before = text[-CONTEXT_CHARACTERS:]

    def _guess_encoding(self) -> str:
        """The encoding of a file from its first bytes beyond ASCII."""
        with self._open() as (_, stream):
            sample = stream.read(BLOCK_BYTES)
            while sample.isascii() and b"\0" not in sample:
                if not (sample := stream.read(BLOCK_BYTES)):
                    return "utf-8"
        if (guess := guess_encoding(sample)) is None:
            raise DataError(
                f"{self.path}: its encoding cannot be guessed. Set data.encoding to the name of "
                f"its encoding"
            )
        return guess

    @contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """The file, and its content as a stream."""
        with self._explain_errors(), open_regular(self.path) as file:
            self._check_identity(file)
            if self.size_bytes == 0:  # or something that calls itself a file, and never ends
                yield file, io.BytesIO()
                return
            with open_content(file, self.compression) as stream:
                yield file, stream
            self._check_identity(file)

    def _check_identity(self, file: BinaryIO) -> None:
        if _identify(file) != self._identity:
            raise DataError(self._explain_change())

    def _explain_change(self) -> str:
        return (
            f"{self.path} changed while it was being read; run the command again once it is "
            f"complete"
        )

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            raise DataError(explain_damage(self.path, error)) from error
        except FileNotFoundError as error:
            if self.path.is_symlink():
                raise DataError(f"{self.path} is a link to a file that does not exist") from error
            raise DataError(f"there is no file {self.path}") from error
        except PermissionError as error:
            raise DataError(
                f"{self.path} cannot be read: permission denied. "
                f"Allow it with: chmod u+r {shlex.quote(str(self.path))}"
            ) from error
        except IsADirectoryError as error:
            raise DataError(f"{self.path} is a directory; expected a text file") from error
        except UnfitFileError as error:
            raise DataError(
                f"{self.path} is not a regular file; expected a text file, because a text is read "
                f"several times. Write what a pipe or a device gives to a file, and name that file"
            ) from error
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}") from error


def _identify(file: BinaryIO) -> _Identity:
    status = os.fstat(file.fileno())
    return _Identity(status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)


def unify_line_breaks(text: str) -> str:
    """Text with line feeds for line breaks."""
    if "\r" not in text:
        return text
    return text.replace("\r\n", "\n").replace("\r", "\n")
