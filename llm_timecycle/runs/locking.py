"""The lock of a run, which the process that trains it holds."""

from __future__ import annotations

from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock

NAME = ".lock"
WAIT_S = 0.2
"""That a training waits for the lock: `is_locked` holds it for a moment."""


def make_lock(run: Path) -> FileLock:
    """The lock of a run, not taken yet. The system releases it when its process ends."""
    from filelock import FileLock  # tens of milliseconds that few commands need

    # A soft lock, a file that merely exists, would outlive a killed process.
    return FileLock(run / NAME, fallback_to_soft=False)


def is_locked(run: Path) -> bool:
    """Whether another process trains the run, as far as this user can tell; makes no file."""
    try:
        if not S_ISREG((run / NAME).lstat().st_mode):
            return False
    except OSError:  # it was never trained
        return False
    from filelock import Timeout

    try:
        with make_lock(run).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # it may not be written to
        return False
