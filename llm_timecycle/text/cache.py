"""The cache for commands that only read: usable where its directory cannot be written to."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llm_timecycle.errors import RunError
from llm_timecycle.files import explain_os_error
from llm_timecycle.text.prepare import find_cache_directory

log = logging.getLogger("llm_timecycle")


@contextmanager
def open_cache() -> Iterator[Path]:
    """The cache directory; where it cannot be written to, a temporary one with the same entries.

    Raises:
        RunError: neither can be written to.
    """
    cache = find_cache_directory()
    if can_write(cache):
        yield cache
        return
    try:
        place = tempfile.TemporaryDirectory(prefix="llm-timecycle-", ignore_cleanup_errors=True)
    except OSError as error:
        raise RunError(
            f"neither the cache directory {cache} nor a temporary directory can be written to: "
            f"{explain_os_error(error)}; or set the environment variable LLM_TIMECYCLE_CACHE to a "
            f"directory that can be"
        ) from error
    with place as name:
        log.info("the cache directory %s cannot be written to: using a temporary one", cache)
        _link_entries(cache, Path(name))
        yield Path(name)


def can_write(directory: Path) -> bool:
    """Whether files can be made in a directory, which is made first if it is missing."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _link_entries(cache: Path, place: Path) -> None:
    """Make what is cached available in `place`, where the system has symbolic links."""
    with suppress(OSError):
        for entry in cache.iterdir():
            if entry.is_dir():  # more can be added to it
                (place / entry.name).mkdir()
            for each in entry.iterdir() if entry.is_dir() else [entry]:
                (place / each.relative_to(cache)).symlink_to(each.absolute())
