"""Files of the cache. The name of each ends with the hash of its content, so damage is found.

    <directory>/<key>-<beginning of the SHA-256 of the content><suffix>

The key is a hash of everything that the content depends on. A file that is not what its name says
is deleted and made again, as is anything else that cannot be read under such a name.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from llm_timecycle.files import read_regular, remove, write_durably

STALE_AFTER_S = 24 * 3600.0
HASH_DIGITS = 32

log = logging.getLogger("llm_timecycle")


class CachedFile(NamedTuple):
    """A file of the cache, and what was in it when its hash was compared."""

    path: Path
    content: bytes


def read_cached(directory: Path, key: str, suffix: str, most_bytes: int) -> CachedFile | None:
    """The file that is cached under a key, marked as just used; None where there is none."""
    for path in sorted(directory.glob(f"{key}-*{suffix}")):
        try:
            content = read_regular(path, most_bytes)
        except FileNotFoundError:  # another process deleted it just now
            continue
        except OSError as error:
            drop_damaged(path, error.strerror or str(error))
            continue
        if path.name == _name_file(key, content, suffix):
            _note_use(path)
            return CachedFile(path, content)
        drop_damaged(path, "its content has changed")
    return None


def write_cached(directory: Path, key: str, suffix: str, content: bytes) -> CachedFile:
    """Keep a content under a key; OSError if the disk refuses.

    If another process has made the same file by now, that one stays.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / _name_file(key, content, suffix)
    write_durably(path, content, keep_same=True)
    _note_use(path)
    return CachedFile(path, content)


def drop_damaged(entry: Path, reason: str) -> None:
    """Say that an entry of the cache is damaged, and delete it."""
    log.warning("%s is damaged (%s): it is made again", entry, reason)
    _delete(entry)


def keep_newest(directory: Path, kept: int) -> None:
    """Delete all but the `kept` most recently used entries of a cache directory.

    Hidden entries are work in progress: they do not count, and are deleted once a day old.
    """
    now_s = time.time()
    ages = []
    for entry in directory.iterdir():
        try:
            status = entry.lstat()
        except FileNotFoundError:  # another process is deleting too
            continue
        age_s = now_s - max(status.st_atime, status.st_mtime)
        if not entry.name.startswith("."):
            ages.append((age_s, entry))
        elif age_s > STALE_AFTER_S:
            _delete(entry)
    for _, entry in sorted(ages)[kept:]:
        _delete(entry)


def _note_use(path: Path) -> None:
    """Mark a file as just used. Who reads it takes another time of change for another content."""
    with suppress(OSError):  # a cache that can only be read is as good
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _delete(entry: Path) -> None:
    with suppress(OSError):  # another process is deleting too, or nobody can
        remove(entry)


def _name_file(key: str, content: bytes, suffix: str) -> str:
    return f"{key}-{hashlib.sha256(content).hexdigest()[:HASH_DIGITS]}{suffix}"
