"""What can be at a path in place of a file: nothing, another file, a link, a pipe, a device."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from fuzzing.machine import leave_unwatched

DEVICES = ("/dev/zero", "/dev/null", "/dev/random", "/dev/full", "/dev/tty", "/proc/self/maps")
LARGE_BYTES = (1 << 20, 70 << 20, 1 << 33, 1 << 40)


def replace_path(draw: Random, path: Path, other: Path) -> str:
    """Put something else at a path; returns what.

    Args:
        path: a file or a directory that is there, or a name that is free.
        other: a file or a directory of the same kind from somewhere else.
    """
    change = draw.choice(
        [
            *("removed", "removed", "another", "another", "a link to another", "a link to itself"),
            *("a link to nothing", "a directory", "a pipe", "a socket", "a device", "a text"),
            *("a link to a device", "holes at its end", "unreadable", "a link to where it was"),
        ]
    )
    if change == "holes at its end":
        return _grow(draw, path)
    if change == "unreadable":
        if path.is_file() and not path.is_symlink():  # never what a link leads to
            path.chmod(0)
        return change
    if change == "a link to where it was":
        moved = path.with_name(f"{path.name}-moved")
        if path.exists():
            path.rename(moved)
            path.symlink_to(moved.name)
        return change
    _remove(path)
    if change == "another":
        _copy(other, path)
    elif change == "a link to another":
        path.symlink_to(other)
    elif change == "a link to itself":
        path.symlink_to(path.name)
    elif change == "a link to nothing":
        path.symlink_to(draw.choice(["nothing", "/nothing/there", "x" * 255]))
    elif change == "a directory":
        path.mkdir()
        if draw.random() < 0.5:
            (path / path.name).write_text("{}")
    elif change == "a pipe":
        os.mkfifo(path)
    elif change == "a socket":
        _make_socket(path)
    elif change == "a text":
        path.write_bytes(draw.choice([b"", b"\n", b"{}", b"[]", b"null", b"data:\n", b"\xff" * 9]))
    elif change == "a device" and _make_device(path):
        pass
    elif "device" in change:
        path.symlink_to(draw.choice(DEVICES))
    return change


def feed_pipe(path: Path, content: bytes) -> None:
    """Write content into a named pipe whenever somebody reads from it, as long as it is there."""

    def feed() -> None:
        leave_unwatched()
        with suppress(OSError):
            while True:
                descriptor = os.open(path, os.O_WRONLY)  # waits for a reader
                with suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as pipe:
                    pipe.write(content)
                time.sleep(0.01)  # until the reader has closed it, or it would read twice

    path = path.absolute()
    threading.Thread(target=feed, daemon=True).start()


def _grow(draw: Random, path: Path) -> str:
    size = draw.choice(LARGE_BYTES)
    if path.is_file() and not path.is_symlink():
        os.truncate(path, size)
    return f"grown to {size:,} bytes with holes"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, path: Path) -> None:
    if source.is_dir():
        with suppress(shutil.Error):  # of what is no file in it, after all else is copied
            shutil.copytree(source, path)
    elif source.is_file():
        shutil.copyfile(source, path)


def _make_socket(path: Path) -> None:
    place = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may have about 100 characters
    try:
        with socket.socket(socket.AF_UNIX) as server, suppress(OSError):  # a longer one
            server.bind(path.name)
    finally:
        os.chdir(place)


def _make_device(path: Path) -> bool:
    """/dev/zero, where that is allowed."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    except OSError:
        return False
    return True
