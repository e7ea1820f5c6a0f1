"""What a process does to the machine: the memory it takes, and the files it writes to."""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATHS = {  # of an audit event, the arguments that are paths which it changes
    **dict.fromkeys(("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod"), (0,)),
    **dict.fromkeys(("os.chown", "os.utime"), (0,)),
    **dict.fromkeys(("os.rename",), (0, 1)),
    **dict.fromkeys(("os.link", "os.symlink"), (1,)),
}
_OTHERS = ("os.system", "os.exec", "socket.connect", "subprocess.Popen")
_DEVICES = ("/dev/null", "/dev/full")
_STATUS = Path("/proc/self/status")


class OutsideError(BaseException):
    """Something outside was about to be changed. No `except Exception` hides it."""


class _Watch(threading.local):
    inside = False  # of the hook, which looks at files itself


_roots: tuple[str, ...] = ()
_touched: list[str] = []
_watch = _Watch()
_installed: list[bool] = []


@contextmanager
def watch_writes(roots: tuple[Path, ...]) -> Iterator[list[str]]:
    """Notice, and prevent, what Python code in this process changes outside of `roots`.

    Gives a list, to which each such attempt is added.
    """
    global _roots
    if not _installed:
        sys.addaudithook(_audit)
        _installed.append(True)
    _touched.clear()
    found: list[str] = []
    _roots = tuple(os.path.realpath(root) for root in roots)
    try:
        yield found
    finally:
        _roots = ()
        found += _touched


def leave_unwatched() -> None:
    """Let this thread write anywhere: it belongs to the fuzzer."""
    _watch.inside = True


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _roots or _watch.inside:
        return
    if event == "open":
        path, _, flags = arguments
        if not isinstance(flags, int) or not flags & _WRITES or isinstance(path, int):
            return
        _check(event, path, follows=not flags & os.O_NOFOLLOW)
    elif event in _PATHS:
        for place in _PATHS[event]:
            if not isinstance(arguments[place], int):
                _check(event, arguments[place], follows=False)
    elif event in _OTHERS:
        _refuse(f"{event} {arguments[:1]!r}"[:200])


def _check(event: str, path: Any, follows: bool) -> None:
    _watch.inside = True
    try:
        name = os.fsdecode(path)
        if follows:
            real = os.path.realpath(name)
        else:
            parent, last = os.path.split(os.path.abspath(name))  # noqa: PTH100
            real = os.path.join(os.path.realpath(parent), last)  # noqa: PTH118
    except (OSError, ValueError, TypeError):
        return  # nothing can be changed under such a name
    finally:
        _watch.inside = False
    is_inside = any(real == root or real.startswith(f"{root}{os.sep}") for root in _roots)
    if not is_inside and real not in _DEVICES:
        _refuse(f"{event} {real}")


def _refuse(what: str) -> None:
    _touched.append(what)
    raise OutsideError(what)


def limit_memory(most: int) -> None:
    """Let the process have no more than so many bytes of its own, where the system can."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def reset_peak() -> None:
    """Begin to measure the peak anew, where the system can."""
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def read_peak_bytes() -> int:
    """The most memory that was resident since `reset_peak`, or else since the process began."""
    if _STATUS.exists():
        return _read_status("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def read_resident_bytes() -> int:
    """The memory that is resident now; 0 where the system does not say."""
    return _read_status("VmRSS") if _STATUS.exists() else 0


def _read_status(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return 0
