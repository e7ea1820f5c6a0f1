"""Processes that are forked, so that what they need is imported only once."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

CRASHED = 99
"""The exit code after an exception that nothing caught."""


def start(program: Callable[[], int], log: Path, longest_s: int) -> int:
    """Run a function in another process; returns its id.

    Args:
        program: returns the exit code; SystemExit does as well.
        log: where the output goes.
        longest_s: after which a signal ends the process.
    """

    def run() -> int:
        signal.alarm(longest_s)
        redirect_output(log)
        return program()

    if (pid := fork()) == 0:
        end_with(run)
    return pid


def end_with(program: Callable[[], int]) -> NoReturn:
    """Run a function as all of a forked process: it ends with the code that the function returns.

    A SystemExit gives its code, any other exception `CRASHED` with its traceback.
    """
    code: int | str | None = CRASHED
    try:
        code = program()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  # the log has it
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def fork() -> int:
    """As `os.fork`, beside other threads too."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def wait(pid: int) -> int:
    """The exit code of a process, once it has ended; the negative number of a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def redirect_output(log: Path) -> None:
    """Write what this process prints to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


@contextmanager
def hold_errors() -> Iterator[None]:
    """Drop what is written to standard error, until the end of the context."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
