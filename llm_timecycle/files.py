"""Files that are whole or not there: durable writes, digests, and explanations of OS errors.

A reader never meets a half-written file: new content goes to a temporary name in the same
directory, is flushed to the disk, and is renamed over the old one; then the directory is flushed.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_durably(path: Path, content: bytes) -> str:
    """Replace the file at `path` by `content`, whole or not at all, even on a kill or power cut.

    Returns its SHA-256, in hex.
    """
    from concurrent.futures import ThreadPoolExecutor  # 5 ms that most commands do not need

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file, ThreadPoolExecutor(1) as pool:
            sha256 = pool.submit(_hash, content)  # while the disk is written to
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_directory(path.parent)
    return sha256.result()


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


def compute_sha256(path: Path, limit: int | None = None) -> str:
    """The SHA-256 of a file's first `limit` bytes (of all of it without a limit), in hex."""
    digest = hashlib.sha256()
    left = path.stat().st_size if limit is None else limit
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def explain_os_error(error: OSError) -> str:
    """What the system reported, in words that tell the user what to do."""
    if error.errno in FULL_DISK:
        return "the disk is full (or a size limit was reached): free some space"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "it cannot be written to: check its permissions, or choose another directory"
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return "a file is where a directory is needed: choose another directory"
    return error.strerror or str(error)
