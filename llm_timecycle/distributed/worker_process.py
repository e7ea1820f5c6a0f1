"""A worker as a process of this machine: started, listened to, signalled, and ended for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from llm_timecycle.distributed.parent import LAUNCHER

_READ_BYTES = 1 << 16
_DRAIN_S = 1.0
_STDERR = 2
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has but one way


@dataclass(frozen=True)
class WorkerCommand:
    """How a worker is started."""

    arguments: Sequence[str]
    """The program, and what it is given."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """In addition to that of this process."""


class WorkerProcess:
    """A worker that runs. Its output and its end are told from threads.

    It has a process group, so that Ctrl-C reaches this process alone, and so that what the worker
    has started ends with it.

    Args:
        has_bar: whether it prints as on the terminal of this process.
        tell_output: takes what it prints.
        tell_end: is called after its end, and after all of its output.
        now: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        command: WorkerCommand,
        *,
        has_bar: bool,
        tell_output: Callable[[bytes], object],
        tell_end: Callable[[], object],
        now: Callable[[], float],
    ) -> None:
        environment = {**os.environ, **command.environment, LAUNCHER: str(os.getpid())}
        self._reading, writing = _open_terminal() if has_bar else os.pipe()
        try:
            self._process = subprocess.Popen(
                list(command.arguments),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                process_group=0 if sys.platform != "win32" else None,
            )
        except BaseException:
            os.close(self._reading)
            raise
        finally:
            os.close(writing)
        self._has_bar, self._now = has_bar, now
        self.exit_code: int | None = None
        """None while it runs; a signal that ended it as a negative number."""
        self.ended_s = 0.0
        """When that was, on the clock."""
        reader = threading.Thread(target=self._listen, args=(tell_output,), daemon=True)
        reader.start()
        threading.Thread(target=self._wait, args=(reader, tell_end), daemon=True).start()

    def send(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.exit_code is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it and all that it has started; also what it left behind."""
        with suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, _KILL)

    def fit_terminal(self) -> None:
        """Tell it how wide the terminal is now."""
        if self._has_bar and self.exit_code is None:
            with suppress(OSError):
                _copy_size(_STDERR, self._reading)

    def _listen(self, tell_output: Callable[[bytes], object]) -> None:
        with suppress(OSError):  # so ends a terminal at whose other end nobody is
            while received := os.read(self._reading, _READ_BYTES):
                tell_output(received)
        os.close(self._reading)

    def _wait(self, reader: threading.Thread, tell_end: Callable[[], object]) -> None:
        self._process.wait()
        self.ended_s, self.exit_code = self._now(), self._process.returncode
        reader.join(_DRAIN_S)  # what it has started may hold the pipe longer
        tell_end()


def _open_terminal() -> tuple[int, int]:
    """Both ends of a terminal as wide as that of this process; what it is given comes unchanged."""
    import pty
    import termios

    reading, writing = pty.openpty()
    modes = termios.tcgetattr(writing)
    modes[1] &= ~termios.OPOST
    termios.tcsetattr(writing, termios.TCSANOW, modes)
    with suppress(OSError):
        _copy_size(_STDERR, reading)
    return reading, writing


def _copy_size(source: int, target: int) -> None:
    import fcntl
    import termios

    size = fcntl.ioctl(source, termios.TIOCGWINSZ, b"\0" * 8)
    fcntl.ioctl(target, termios.TIOCSWINSZ, size)
