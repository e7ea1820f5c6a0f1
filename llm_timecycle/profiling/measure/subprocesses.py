"""Child processes that measure for this one, and end with it.

Input and output are UTF-8 text in every locale.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

Finished = subprocess.CompletedProcess[str]


def run_module(module: str, arguments: Sequence[str] = (), text: str = "") -> Finished:
    """Run a module of this program in a new process, which finds modules where this one does.

    Without `-P`, Python would look in the current directory first, and run a `json.py` that came
    with somebody's texts.

    Args:
        module: its dotted name.
        arguments: what follows it on the command line.
        text: for stdin.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]
    return run_child(command, text, {**os.environ, "PYTHONPATH": list_module_paths()})


def list_module_paths() -> str:
    """Where this process finds modules, as `PYTHONPATH` has it."""
    return os.pathsep.join(path or str(Path.cwd()) for path in sys.path)


def run_child(
    command: Sequence[str], text: str = "", environment: Mapping[str, str] | None = None
) -> Finished:
    """Run a command to its end, given `text` on stdin; its output is kept.

    An exception, Ctrl-C or SIGTERM ends the child first.
    """
    with _end_on_sigterm():
        return subprocess.run(
            command,
            input=text,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )


def explain_failure(finished: Finished) -> str:
    """Why a child failed: its error message, its signal, its last line, or its exit code.

    >>> explain_failure(Finished(["train"], 4, "", "Reading\\nError: no text\\nAdd one\\n"))
    'no text\\nAdd one'
    >>> explain_failure(Finished(["train"], -9, "", "Reading\\n"))
    'ended by signal 9 (SIGKILL)'
    """
    if finished.returncode < 0:
        names = {known.value: f" ({known.name})" for known in signal.Signals}
        return f"ended by signal {-finished.returncode}{names.get(-finished.returncode, '')}"
    lines = finished.stderr.strip()
    _, found, message = f"\n{lines}".rpartition("\nError: ")
    if found:
        return message
    return lines.splitlines()[-1] if lines else f"exit code {finished.returncode}"


class _Terminated(BaseException):
    """SIGTERM came."""


@contextmanager
def _end_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception inside the block, and deliver it after the block."""
    before = signal.getsignal(signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before in (signal.SIG_IGN, None):
        yield
        return

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    except _Terminated:
        signal.signal(signal.SIGTERM, before)
        signal.raise_signal(signal.SIGTERM)
        raise KeyboardInterrupt from None  # the handler of SIGTERM did not end the program
    finally:
        signal.signal(signal.SIGTERM, before)
