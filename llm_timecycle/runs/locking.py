"""The lock of a run, which the process that trains it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llm_timecycle.files import open_regular

if TYPE_CHECKING:
    from filelock import FileLock

NAME = ".lock"
WAIT_S = 0.2
"""That a training waits for the lock, since `is_locked` holds it for a moment."""


def make_lock(run: Path) -> FileLock:
    """The lock of a run, not taken yet. The system releases it when its process ends."""
    from filelock import FileLock  # tens of milliseconds that few commands need

    # A soft lock, a file that merely exists, would outlive a killed process.
    return FileLock(run / NAME, fallback_to_soft=False)


def is_locked(run: Path) -> bool:
    """Whether another process trains the run, as far as this user can tell; changes nothing."""
    try:
        import fcntl
    except ImportError:  # Windows
        return _is_refused(run)
    try:
        with open_regular(run / NAME) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it was never trained, or locks are unknown here
        return False
    return False


def _is_refused(run: Path) -> bool:
    """Whether taking the lock fails, where there is one."""
    from filelock import Timeout

    if not (run / NAME).is_file():
        return False
    try:
        with make_lock(run).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # it may not be written to
        return False
