"""Compressed files: gzip and Zstandard, told by the name, read and sought as their content."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSIONS = {".gz": "gzip", ".zst": "Zstandard"}
"""The end of a name to the name of the format."""
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError)
"""What reading damaged content raises."""
WINDOW_TOO_LARGE = "Frame requires too much memory"
"""What the message then has where the content is sound, and was compressed with a larger window
than the 128 MB that every program takes."""


def find_compression(path: Path) -> str | None:
    """`gzip` or `Zstandard` if the name says so, else None."""
    return COMPRESSIONS.get(path.suffix.lower())


@contextmanager
def open_content(file: BinaryIO, compression: str | None) -> Iterator[BinaryIO]:
    """The content of an open file, which stays open.

    Args:
        file: the file, at its start.
        compression: as `find_compression` says.
    """
    if compression == "gzip":
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield cast(BinaryIO, unpacked)
    elif compression == "Zstandard":
        with zstd.ZstdFile(file) as unzipped:
            yield cast(BinaryIO, unzipped)
    else:
        yield file


def find_kind(path: Path) -> str:
    """What a file holds by its name: its suffix in lower case, compression aside; maybe empty.

    >>> find_kind(Path("Posts.CSV.gz")), find_kind(Path("notes.gz")), find_kind(Path("LICENSE"))
    ('.csv', '', '')
    """
    inner = Path(path.stem) if find_compression(path) else path
    return inner.suffix.lower()
