"""Every error that a user can cause, each with the exit code of the command that meets it.

TimecycleError            1    an internal error
+-- UsageError            2    a command was called in a way that cannot work
|   +-- NotEnoughMemoryError  2  what was asked for does not fit in memory
|   +-- ExportExistsError  2  something is already where an export was to be written
+-- ConfigError           3    a setting or a settings file is wrong
|   +-- DivergenceError   3    a loss that is not a number: the settings cannot train this model
+-- DataError             4    a text is missing, unreadable or unfit
|   +-- ShortTextError    4    a text is too short for its settings
|   +-- HeldOutTextError  4    a run has no held-out text to score, or not the same one any more
+-- RunError              5    a run directory or a checkpoint is missing, damaged or in the way
|   +-- RunExistsError    5    something is already where a new run was to be written
|   +-- RunInUseError     5    another process is training the run
+-- WorkersError          6    the workers of a training on several machines did not find each other
|   +-- WorkerLostError   6    one of them was lost while they trained
+-- ExportError           1    an export does not give what its run gives
+-- Interrupted           130  Ctrl-C ended the work after it was saved (143: SIGTERM, 129: SIGHUP)

A message says what was expected, what was found and what to do next, in one or a few lines.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path


class TimecycleError(Exception):
    """The root of the tree; `exit_code` is what the process ends with."""

    exit_code = 1

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own would pass the message to `__init__`, which may take something else: a
        # process that was to hand the error to another one would fail, or never answer.
        return _restore, (type(self), self.args, self.__dict__)

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the user's own lines and the message, not a page of our files.

        IPython calls it. With LLM_TIMECYCLE_DEBUG=1, everything is shown.
        """
        import traceback

        if os.environ.get("LLM_TIMECYCLE_DEBUG") == "1":
            return traceback.format_exception(self)
        outside = [
            frame
            for frame in traceback.extract_tb(self.__traceback__)
            if not Path(frame.filename).is_relative_to(Path(__file__).parent)
            and "IPython" not in Path(frame.filename).parts
        ]
        return [*traceback.format_list(outside), f"{type(self).__name__}: {self}"]


def _restore(
    kind: type[TimecycleError], args: tuple[object, ...], attributes: Mapping[str, object]
) -> TimecycleError:
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


class UsageError(TimecycleError):
    """A command or a function was called in a way that cannot work."""

    exit_code = 2


class NotEnoughMemoryError(UsageError):
    """What was asked for does not fit in memory.

    Attributes:
        problem: what takes how much.
        change: the setting that would fit, as KEY=VALUE; empty where only a smaller model would.
    """

    def __init__(self, problem: str, change: str = "") -> None:
        self.problem, self.change = problem, change
        super().__init__(f"{problem}: {change or 'only a smaller model'} would fit")


class ExportExistsError(UsageError):
    """Something is already where an export was to be written.

    Attributes:
        path: what is there.
        is_export: whether it is an export, so that replacing it is a way out.
    """

    def __init__(self, path: Path, is_export: bool) -> None:
        self.path, self.is_export = path, is_export
        kind = "" if is_export else " and is not an export"
        replace = "pass force=True to replace it, or " if is_export else "pass "
        super().__init__(f"{path} exists already{kind}: {replace}another path as output")


class ConfigError(TimecycleError):
    """A setting is unknown, of the wrong type, out of range, or at odds with another."""

    exit_code = 3


class DivergenceError(ConfigError):
    """The loss or the gradient stopped being a number."""


class DataError(TimecycleError):
    """A text is missing, unreadable, not in its encoding, or too short."""

    exit_code = 4


class ShortTextError(DataError):
    """A text is too short for its settings.

    Attributes:
        problem: which part of it, and what it would take.
        changes: settings that would fit, by dotted path; none where only a longer text would.
    """

    def __init__(self, problem: str, changes: Mapping[str, str]) -> None:
        self.problem, self.changes = problem, changes
        fitting = ", ".join(f"{path}={value}" for path, value in changes.items())
        advice = f"These settings fit: {fitting}" if changes else "Use a longer text"
        super().__init__(f"{problem}. {advice}")


class HeldOutTextError(DataError):
    """A run has no held-out text to score, or not the same one any more.

    Attributes:
        problem: the message without the advice to score another text.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"{problem}. To score another text, pass it as data")


class RunError(TimecycleError):
    """A run directory or checkpoint is missing, incomplete, damaged, or already there."""

    exit_code = 5


class RunExistsError(RunError):
    """Something is already where a new run was to be written.

    Attributes:
        path: what is there.
        is_run: whether it is a run, so that resuming it is a way out.
    """

    def __init__(self, path: Path, is_run: bool) -> None:
        self.path, self.is_run = path, is_run
        resume = "to resume it, pass resume=True; for a new one, pass" if is_run else "pass"
        kind = "" if is_run else " and is not a run"
        super().__init__(f"{path} exists already{kind}: {resume} another directory as run")


class RunInUseError(RunError):
    """Another process is training the run."""


class WorkersError(TimecycleError):
    """Workers of a job did not come, were lost or are stuck. Starting all again may help."""

    exit_code = 6


class WorkerLostError(WorkersError):
    """A worker has ended or cannot be reached, after all were connected."""


class ExportError(TimecycleError):
    """An export does not give what its run gives, or its writer has failed."""


class Interrupted(TimecycleError):  # noqa: N818 - not an error: the work was saved
    """The user or the system asked the work to stop, and it stopped with everything saved."""

    def __init__(self, message: str, signal_number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
