"""A worker that the launcher started never outlives it, however the launcher ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping

LAUNCHER = "LLM_TIMECYCLE_LAUNCHER"
"""The environment variable with the launcher's process id."""
_POLL_S = 1.0
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def end_with_launcher(
    environ: Mapping[str, str] = os.environ,
    *,
    ask_system: Callable[[], bool] | None = None,
    end: Callable[[], object] = lambda: os._exit(1),
) -> None:
    """Have this process end when the launcher does, if one has started it.

    On Linux the system sees to it, even while nothing of this process runs. Elsewhere a thread asks
    each second who its parent is: an orphan gets another one.

    Args:
        ask_system: asks the system, and returns whether it will; None does what this one can.
        end: what the thread calls.
    """
    launcher = environ.get(LAUNCHER, "")
    if not launcher.isdecimal():
        return
    if not (ask_system or _ask_linux)():
        watch = threading.Thread(target=_watch, args=(int(launcher), end), daemon=True)
        watch.start()
    if os.getppid() != int(launcher):  # it has ended meanwhile
        end()


def _ask_linux() -> bool:
    """Have Linux kill this process when its parent ends."""
    if sys.platform != "linux":
        return False
    import ctypes

    return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0)


def _watch(launcher: int, end: Callable[[], object]) -> None:
    while os.getppid() == launcher:
        time.sleep(_POLL_S)
    end()
