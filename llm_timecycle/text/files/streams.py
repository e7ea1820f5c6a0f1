"""Streams that people connect: standard input, pipes, terminals; also files given in their place.

How long a stream is shows only at its end, and some have none. Nothing takes more of one than
`STREAM_BYTES_AT_MOST`.
"""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import BinaryIO

from llm_timecycle.files import UnfitFileError, read_regular

STREAM_BYTES_AT_MOST = 16 << 20


def is_stream(path: Path) -> bool:
    """Whether a path leads to a pipe, a terminal or another device that is read as a stream.

    Raises:
        OSError: nobody can say.
    """
    mode = path.stat().st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def read_stream(stream: BinaryIO) -> bytes:
    """What is left of a stream.

    Raises:
        UnfitFileError: it is longer than `STREAM_BYTES_AT_MOST`. OSError: it cannot be read.
    """
    return _check_length(stream.read(STREAM_BYTES_AT_MOST + 1))


def read_stream_line(stream: BinaryIO) -> bytes:
    """The next line of a stream, with its line break; empty at the end. Errors: `read_stream`."""
    return _check_length(stream.readline(STREAM_BYTES_AT_MOST + 1))


def read_given(path: Path) -> bytes:
    """The content of a file that may also be a stream, such as `<(command)` of a shell.

    A stream is waited for. Errors: `read_stream`.
    """
    if not is_stream(path):
        return read_regular(path, STREAM_BYTES_AT_MOST)
    with path.open("rb") as stream:
        return read_stream(stream)


def _check_length(content: bytes) -> bytes:
    if len(content) > STREAM_BYTES_AT_MOST:
        raise UnfitFileError(errno.EFBIG, f"it has more than {STREAM_BYTES_AT_MOST:,} bytes")
    return content
