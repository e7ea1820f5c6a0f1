"""One text file, read as a stream: strict UTF-8, plain or gzip, a megabyte at a time.

A file is never held in memory as a whole. A byte order mark at the start is dropped, and every
line ending (LF, CR LF, CR) becomes one line feed; nothing else changes, and anything that is not
UTF-8 is an error. A compressed file counts as its content.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import os
import shlex
import stat
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from llm_timecycle.errors import DataError

BLOCK_BYTES = 1 << 20


class Landmark(NamedTuple):
    """A position in a file where reading can start: characters before it, and its byte offset."""

    characters: int
    offset: int


class Measure(NamedTuple):
    """The result of one pass over a file: its length, its SHA-256 (in hex), and its landmarks."""

    characters: int
    sha256: str
    landmarks: list[Landmark]


class TextFile:
    """A text file on disk, which must not change while the program runs.

    Args:
        path: the file; a name that ends in `.gz` means that it is compressed with gzip.

    Raises DataError if the file is missing, is not a regular file, cannot be opened, or is named
    `.gz` but is not gzip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_compressed = path.name.lower().endswith(".gz")
        self._measure: Measure | None = None
        with self._explain_errors():
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{path} is not a regular file; expected a text file")
            self._identity = (status.st_size, status.st_mtime_ns)
        with self._open() as stream:
            self.is_empty = stream.read(4) in (b"", codecs.BOM_UTF8)

    @property
    def size_bytes(self) -> int:
        """The size of the file on disk, in bytes."""
        return self._identity[0]

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[str]:
        """The text from character `start` to before character `stop`, in pieces.

        Raises DataError, with the byte offset, if the file is not UTF-8; and if it is damaged, or
        has changed since it was opened first.
        """
        landmark = Landmark(0, 0)
        if start > 0:
            landmarks = self.measure().landmarks
            after = bisect_right(landmarks, start, key=attrgetter("characters"))
            landmark = landmarks[after - 1]
        position = landmark.characters
        with self._open() as stream:
            stream.seek(landmark.offset)
            for text, _ in self._decode(stream, landmark.offset):
                end = None if stop is None else max(stop - position, 0)
                if piece := text[max(start - position, 0) : end]:
                    yield piece
                position += len(text)
                if stop is not None and position >= stop:
                    return

    def measure(self, report: Callable[[int], object] | None = None) -> Measure:
        """Read the file once from start to end; later calls return the same result at once.

        Args:
            report: called with the number of bytes read since the last call.

        Raises DataError as `read` does.
        """
        if self._measure is None:
            digest = hashlib.sha256()
            landmarks = [Landmark(0, 0)]
            with self._open() as stream:
                for text, offset in self._decode(stream, 0):
                    digest.update(text.encode())
                    if report is not None:
                        report(offset - landmarks[-1].offset)
                    landmarks.append(Landmark(landmarks[-1].characters + len(text), offset))
            self._measure = Measure(landmarks[-1].characters, digest.hexdigest(), landmarks)
        return self._measure

    def _decode(self, stream: BinaryIO, offset: int) -> Iterator[tuple[str, int]]:
        """Pieces of text, each with the byte offset at which it ends; `stream` is at `offset`."""
        rest = b""
        if offset == 0:
            rest = stream.read(len(codecs.BOM_UTF8))
            if rest == codecs.BOM_UTF8:
                rest, offset = b"", len(codecs.BOM_UTF8)
        while True:
            block = stream.read(BLOCK_BYTES)
            data = rest + block
            try:
                text, used = codecs.utf_8_decode(data, "strict", not block)
            except UnicodeDecodeError as error:
                raise DataError(self._explain_encoding(data, error.start, offset)) from None
            if block and text.endswith("\r"):  # a line feed may follow
                text, used = text[:-1], used - 1
            rest = data[used:]
            offset += used
            if text:
                yield _unify_line_breaks(text), offset
            if not block:
                return

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        with self._explain_errors(), self.path.open("rb") as file:
            self._check_identity(file)
            if self.is_compressed:
                with gzip.GzipFile(fileobj=file) as stream:
                    yield stream  # type: ignore[misc]  # a GzipFile reads and seeks as files do
            else:
                yield file
            self._check_identity(file)

    def _check_identity(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != self._identity:
            raise DataError(
                f"{self.path} changed while it was being read; run the command again once it is "
                f"complete"
            )

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{self.path} is damaged, or is not a gzip file as its name says: {error}. "
                f"Download or compress it again"
            ) from error
        except FileNotFoundError as error:
            raise DataError(f"there is no file {self.path}") from error
        except PermissionError as error:
            raise DataError(
                f"{self.path} cannot be read: permission denied. "
                f"Allow it with: chmod u+r {shlex.quote(str(self.path))}"
            ) from error
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def _explain_encoding(self, data: bytes, start: int, offset: int) -> str:
        if offset == 0 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            advice = f"It looks like UTF-16; convert it: {self._write_iconv('UTF-16')}"
        elif offset == 0 and data.startswith(b"\x1f\x8b"):
            advice = "It is compressed with gzip: rename it so that its name ends in .gz"
        else:
            advice = (
                f"Save it as UTF-8, or convert it: {self._write_iconv('GB18030')} "
                f"(with its encoding in place of GB18030)"
            )
        return (
            f"{self.path} is not UTF-8 text: the byte at offset {offset + start} "
            f"(0x{data[start]:02x}) is invalid. {advice}"
        )

    def _write_iconv(self, encoding: str) -> str:
        """The command that makes a copy of the file in UTF-8."""
        source = shlex.quote(str(self.path))
        copy = shlex.quote(str(self.path.with_suffix(".utf-8.txt")))
        if self.is_compressed:
            return f"gzip -cd {source} | iconv -f {encoding} -t UTF-8 > {copy}"
        return f"iconv -f {encoding} -t UTF-8 {source} > {copy}"


def _unify_line_breaks(text: str) -> str:
    if "\r" not in text:
        return text
    return text.replace("\r\n", "\n").replace("\r", "\n")
