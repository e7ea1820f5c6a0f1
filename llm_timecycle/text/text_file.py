"""One text file, read as a stream: strict UTF-8, plain or gzip, a megabyte at a time.

A file is never held whole. A mark at the start of the file (the byte order mark of some editors)
is dropped, and every way of ending a line (LF, CR LF, CR) becomes one line feed; nothing else
is changed, and nothing that is not UTF-8 is let pass. What is compressed counts as its content.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import os
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
    """A place in a file where reading can begin: characters before it, and its byte offset."""

    characters: int
    offset: int


class Measure(NamedTuple):
    """What one pass over a file finds: its length, its SHA-256 (in hex), and places to begin at."""

    characters: int
    sha256: str
    landmarks: list[Landmark]


class TextFile:
    """A file of text on the disk, which is expected not to change while the program works.

    Args:
        path: the file; a name that ends in `.gz` means that it is compressed with gzip.

    Raises DataError if the file is not there, is no regular file, cannot be opened, or is called
    `.gz` and is not gzip.
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
        """How much the file takes on the disk, in bytes."""
        return self._identity[0]

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[str]:
        """The text from character `start` to before character `stop`, in pieces.

        Raises DataError, naming the byte offset, where the file is not UTF-8; and if it is
        damaged, or has changed since it was first looked at.
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
        """Read the file once from end to end; later calls answer at once.

        Args:
            report: is called with the bytes that were read since it was last called.

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
            if block and text.endswith("\r"):  # whether a line feed follows is not known yet
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
                f"{self.path} changed while it was being read; begin again once it is complete"
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
                f"{self.path} cannot be read: you have no permission to. "
                f"Give it to yourself with: chmod u+r {self.path}"
            ) from error
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def _explain_encoding(self, data: bytes, start: int, offset: int) -> str:
        if offset == 0 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            advice = "It looks like UTF-16; convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW"
        elif offset == 0 and data.startswith(b"\x1f\x8b"):
            advice = "It is compressed with gzip: let its name end in .gz"
        else:
            advice = (
                "Save it again as UTF-8, or convert it: iconv -f GB18030 -t UTF-8 OLD > NEW "
                "(with its own encoding in place of GB18030)"
            )
        return (
            f"{self.path} is not UTF-8 text: the byte at offset {offset + start} "
            f"(0x{data[start]:02x}) fits no character. {advice}"
        )


def _unify_line_breaks(text: str) -> str:
    if "\r" not in text:
        return text
    return text.replace("\r\n", "\n").replace("\r", "\n")
