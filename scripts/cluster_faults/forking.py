"""Workers that are forked from this process, so that TensorFlow is imported once and not 200 times.

`fork_workers` puts them in place of those that the launcher starts as programs. All else is as
usual: they have process ids, a process group, and a pipe for what they print.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

from boundaries.processes import end_with, fork

from llm_timecycle.distributed import worker_process

_CLONE_NEWNET = 0x40000000
DIRECTORY = "FAULTS_DIRECTORY"
"""The environment variable with the directory that a worker starts in."""


class ForkedWorker:
    """As `subprocess.Popen` of `ip netns exec MACHINE llm-timecycle ARGUMENTS`."""

    def __init__(
        self, words: Sequence[str], env: Mapping[str, str], stdout: int, **_: object
    ) -> None:
        self.returncode: int | None = None
        self.pid = fork()
        if self.pid == 0:
            end_with(lambda: _work(words, env, stdout))
        os.setpgid(self.pid, self.pid)

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code, after its end."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.returncode = code
        return code


@contextmanager
def fork_workers() -> Iterator[None]:
    """Let the launcher fork its workers."""
    replacement = SimpleNamespace(Popen=ForkedWorker, DEVNULL=subprocess.DEVNULL)
    with patch.object(worker_process, "subprocess", replacement):
        yield


def _work(words: Sequence[str], environment: Mapping[str, str], output: int) -> int:
    """The worker itself; returns where its command ends without an exit code."""
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nowhere, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)
    command, netns, execute, machine, program, *arguments = words
    assert [command, netns, execute, program] == ["ip", "netns", "exec", "llm-timecycle"]
    _enter(machine)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(environment[DIRECTORY])
    sys.argv = [program, *arguments]
    from llm_timecycle.cli.main import main

    main()
    return 0


def _enter(machine: str) -> None:
    """Move this process to the network of a machine."""
    file = os.open(f"/run/netns/{machine}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(file, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(file)
