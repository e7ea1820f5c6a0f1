"""Messages between this process and its workers: a length, then a value as `marshal` writes it.

Both ends run the same interpreter, and neither reads anything that a user was given. `marshal`
knows only plain values (texts, bytes, numbers, tuples, lists, dictionaries) and runs no code.
"""

from __future__ import annotations

import marshal
from typing import IO, Any

_LENGTH_BYTES = 8


def send(stream: IO[bytes], value: Any) -> None:
    """Write a plain value to a pipe.

    Raises:
        OSError: nobody reads the pipe any more.
    """
    content = marshal.dumps(value)
    stream.write(len(content).to_bytes(_LENGTH_BYTES, "little"))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next value from a pipe.

    Raises:
        EOFError: the pipe ended, between two values or inside one.
    """
    length = int.from_bytes(_read(stream, _LENGTH_BYTES), "little")
    return marshal.loads(_read(stream, length))


def _read(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content
