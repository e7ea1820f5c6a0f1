"""A directory made in one step: it appears complete, under its final name, or not at all.

It is filled under a hidden name beside its place, and then renamed. What a killed process leaves
has a name that begins with a dot, and is deleted the next time, once it is a day old.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llm_timecycle.files import flush_directory, remove

STALE_AFTER_S = 24 * 3600.0


@contextmanager
def stage_directory(path: Path, *, replaces: bool = False) -> Iterator[Path]:
    """An empty directory to fill, which becomes `path` at the end of the block; nothing, if it
    raises.

    Args:
        path: the final name; its parent is there.
        replaces: whether what is at `path` is deleted, once the new directory is complete. A kill
            between the two renames that this takes leaves it as `.NAME.making-*.old`.

    Raises:
        OSError: it cannot be made or renamed.
    """
    _remove_stale(path)
    staging = Path(tempfile.mkdtemp(prefix=name_staging(path), dir=path.parent))
    try:
        staging.chmod(0o777 & ~_read_umask())
        yield staging
        if replaces:
            _replace(path, staging)
        else:
            staging.rename(path)
        for directory in (path.parent, path.parent.parent):  # which may be new too
            flush_directory(directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def name_staging(path: Path) -> str:
    """How the names of the directories begin in which a directory of this name is made."""
    return f".{path.name}.making-"


def flush_tree(directory: Path) -> None:
    """Write all files of a directory to the disk, and what its directories list."""
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            descriptor = os.open(Path(folder, name), os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        flush_directory(Path(folder))


def _replace(path: Path, staging: Path) -> None:
    old = staging.with_name(f"{staging.name}.old")
    path.rename(old)
    try:
        staging.rename(path)
    except BaseException:
        old.rename(path)
        raise
    with suppress(OSError):
        remove(old)


def _remove_stale(path: Path) -> None:
    """Delete what was left a day ago or earlier when making a directory of this name was killed."""
    for each in path.parent.iterdir():
        if each.name.startswith(name_staging(path)):
            with suppress(OSError):
                if time.time() - each.lstat().st_mtime > STALE_AFTER_S:
                    remove(each)


def _read_umask() -> int:
    umask = os.umask(0o022)
    os.umask(umask)
    return umask
