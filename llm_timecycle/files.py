"""Files: reading what may be anything, writing what is whole or not there, explaining OS errors.

Reading: a name that a user was handed can lead to a device that never ends, to a pipe that never
begins, or to more bytes than there is memory. `open_regular` and `read_regular` take regular files
only, and no more of them than was there when they were opened.

Writing: a reader never meets a half-written file. New content goes to a temporary name in the same
directory, is flushed to the disk, and is renamed over the old one; then the directory is flushed.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import shutil
import stat
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
READ_AT_MOST = 64 << 20
"""Bytes of a file up to which `read_or_map` copies it."""

_LINKS_AT_MOST = 40  # as Linux follows
_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has neither
_BINARY = getattr(os, "O_BINARY", 0)  # and no other system has this


class UnfitFileError(OSError):
    """A file is not a regular one, or is larger than what is read from it may be."""


def open_regular(path: Path) -> BinaryIO:
    """A regular file, or a link to one, opened for reading; never waits for one that is a pipe.

    Raises:
        UnfitFileError: it is something else. OSError: it cannot be opened.
    """
    _check_regular(path.stat(), path)  # before opening, which already acts on some devices
    descriptor = os.open(path, os.O_RDONLY | _NEVER_WAIT | _BINARY)
    try:
        _check_regular(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most_bytes: int) -> bytes:
    """The content of a regular file, as long as the file was when it was opened.

    Args:
        path: the file.
        most_bytes: the limit, checked before memory is taken.

    Raises:
        UnfitFileError: it is not a regular file, or is larger. OSError: it cannot be read.
    """
    with open_regular(path) as file:
        return file.read(_measure(file, most_bytes))


def read_or_map(path: Path, most_bytes: int | None = None) -> bytes | mmap.mmap:
    """The content of a regular file: copied up to `READ_AT_MOST` bytes, mapped above.

    What was copied cannot change any more. A mapped file that another program writes over gives
    other bytes from then on, and one that is cut short ends the process that reads it.

    Args:
        path: the file.
        most_bytes: the limit, checked before any of it is read; None takes any size.

    Raises:
        UnfitFileError: it is not a regular file, or is larger. OSError: it cannot be read.
    """
    with open_regular(path) as file:
        size = _measure(file, most_bytes)
        if size <= READ_AT_MOST:
            return file.read(size)
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)


def _measure(file: BinaryIO, most_bytes: int | None) -> int:
    """The size of an open file; UnfitFileError if it is above the limit."""
    size = os.fstat(file.fileno()).st_size
    if most_bytes is not None and size > most_bytes:
        found = f"it has {size:,} bytes, and expected are at most {most_bytes:,}"
        raise UnfitFileError(errno.EFBIG, found, file.name)
    return size


def _check_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise UnfitFileError(errno.EINVAL, "it is not a regular file", str(path))


def open_for_appending(path: Path) -> FileIO:
    """A regular file, opened to be read and to be written to at its end; made if it is missing.

    Raises:
        UnfitFileError: it is something else. OSError: it cannot be opened, or is a link.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | _NO_LINK | _NEVER_WAIT | _BINARY
    descriptor = os.open(path, flags, 0o666)
    try:
        _check_regular(os.fstat(descriptor), path)
        return FileIO(descriptor, "r+b")
    except BaseException:
        os.close(descriptor)
        raise


def is_replaceable(path: Path) -> bool:
    """Whether `write_durably` may replace what is at a path, if anything: not a device or a pipe.

    Nor a link that leads through /dev or /proc, as /dev/stdout does. Where standard output is
    redirected, it ends at a regular file, and still the link would be replaced.
    """
    if not os.path.lexists(path):
        return True
    place = path
    for _ in range(_LINKS_AT_MOST):
        place = Path(os.path.realpath(place.parent), place.name)
        if _is_of_the_system(place):
            return False
        if not place.is_symlink():
            break
        place = place.parent / place.readlink()
    return not place.exists() or place.is_file()


def _is_of_the_system(place: Path) -> bool:
    """Whether a path is one of those that name devices and open files."""
    return place.is_relative_to("/proc") or (
        place.is_relative_to("/dev") and not place.is_relative_to("/dev/shm")
    )


def remove(path: Path) -> None:
    """Delete whatever is at a path: a directory with all that is in it, or only a link to one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_durably(path: Path, content: bytes, *, keep_same: bool = False) -> str:
    """Replace the file at `path` by `content`, whole or not at all, even on a kill or power cut.

    Args:
        path: the file. Several processes may write it at once.
        content: what will be in it.
        keep_same: whether a file with this content is left as it is, as others may be reading it.

    Returns its SHA-256, in hex.
    """
    from concurrent.futures import ThreadPoolExecutor  # 5 ms that most commands do not need

    # Drawn, since processes in different containers may have the same number.
    temporary = path.with_name(f".{path.name}.{int.from_bytes(os.urandom(4)):010}.tmp")
    try:
        with temporary.open("xb") as file, ThreadPoolExecutor(1) as pool:
            sha256 = pool.submit(_hash, content)  # while the disk is written to
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep_same and _has_content(path, content):
            temporary.unlink()
        else:
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    flush_directory(path.parent)
    return sha256.result()


def _has_content(path: Path, content: bytes) -> bool:
    """Whether a regular file with this content is at a path."""
    try:
        return read_regular(path, len(content)) == content
    except OSError:
        return False


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def flush_directory(path: Path) -> None:
    """Make renames inside the directory `path` survive a power cut, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no directory, and journals renames itself
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def explain_os_error(error: OSError) -> str:
    """What the system reported, in words that tell the user what to do."""
    if error.errno in FULL_DISK:
        return "the disk is full (or a size limit was reached): free some space"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "it cannot be written to: check its permissions, or choose another directory"
    if error.errno == errno.ELOOP:
        return "a link is where a file is needed: delete it"
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return "a file is where a directory is needed: choose another directory"
    return error.strerror or str(error)
