"""One case: what is tried, what the program did with it, and whether it may do that.

The laws: a case is accepted and what comes of it is right, or it is refused by an error of the
program's own tree with a message. Nothing outside the case's directory is written to, nothing in
it is changed by a refusal, and memory is bounded. The pool (`workers`) adds: it ends, in time, and
the process lives.
"""

from __future__ import annotations

import stat
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzzing.machine import read_peak_bytes, reset_peak, watch_writes

MESSAGE_CHARACTERS_AT_MOST = 20_000
CONTENT_COMPARED_BYTES = 4 << 20


class Wrong(Exception):  # noqa: N818
    """What the program did is against a law; the message says which."""


class Refused(Exception):  # noqa: N818
    """A refusal with this exit code that is no `TimecycleError`, such as one of click."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def accept_anything(_: Any) -> None:
    """The check of a case whose result says nothing more."""


@dataclass(frozen=True)
class Attempt:
    """A case that is ready to be tried.

    Attributes:
        what: what was done to make it, for people.
        call: hands it to the program.
        check: gets what `call` returned; raises `Wrong` where that is not right.
        kept: what must not change: paths in the case's directory. None means all of it.
        may_write: whether it may change after all if the case is accepted.
    """

    what: str
    call: Callable[[], Any]
    check: Callable[[Any], None] = accept_anything
    kept: tuple[str, ...] | None = None
    may_write: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a case: `result` is "accepted", "refused" or "wrong"."""

    result: str
    what: str
    said: str = ""
    exit_code: int = 0
    wall_s: float = 0.0
    peak_bytes: int = 0


def try_attempt(attempt: Attempt, place: Path, writable: tuple[Path, ...], most: int) -> Outcome:
    """Try one case.

    Args:
        place: its directory, which is the current one.
        writable: where else the program may write.
        most: bytes of memory that the process may have at most meanwhile.
    """
    before = take_snapshot(place, attempt.kept)
    reset_peak()
    began_s = time.perf_counter()
    with watch_writes((place, *writable)) as touched:
        result, said, exit_code = _call(attempt)
    wall_s = time.perf_counter() - began_s
    peak_bytes = read_peak_bytes()
    broken = [f"wrote outside its directory: {each}" for each in touched]
    changed = list_changes(before, take_snapshot(place, attempt.kept))
    if changed and not (attempt.may_write and result == "accepted"):
        broken.append(f"changed, though it was only read or was refused: {', '.join(changed)}")
    if peak_bytes > most:
        broken.append(f"took {peak_bytes >> 20:,} MB of memory")
    if broken:
        result, said = "wrong", "\n".join([*broken, said])
    return Outcome(result, attempt.what, said, exit_code, wall_s, peak_bytes)


def _call(attempt: Attempt) -> tuple[str, str, int]:
    """The result of the program, the message, and the exit code."""
    from llm_timecycle.errors import TimecycleError

    try:
        value = attempt.call()
        attempt.check(value)
    except (TimecycleError, Refused) as error:
        said = str(error)
        if fault := _find_fault(said, error.exit_code):
            return "wrong", f"{fault}:\n{said[:MESSAGE_CHARACTERS_AT_MOST]}", error.exit_code
        return "refused", said, error.exit_code
    except Wrong as broken:
        return "wrong", str(broken), 0
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException:  # noqa: BLE001  a SystemExit or a panic is a fault, too
        return "wrong", traceback.format_exc(), 1
    return "accepted", "", 0


def _find_fault(message: str, exit_code: int) -> str:
    if exit_code not in (2, 3, 4, 5):
        return f"refused with exit code {exit_code}"
    if not message.strip():
        return "refused without a message"
    if len(message) > MESSAGE_CHARACTERS_AT_MOST:
        return f"refused with a message of {len(message):,} characters"
    if "Traceback" in message or "internal error" in message:
        return "an internal error is called a refusal"
    return ""


Snapshot = dict[str, tuple[int, int, bytes | str]]


def take_snapshot(place: Path, kept: tuple[str, ...] | None = None) -> Snapshot:
    """Type, size and content of everything below a directory, by relative path.

    Nothing but regular files is opened; of large ones, the time of the last change stands for the
    content.
    """
    found: Snapshot = {}
    starts = [place] if kept is None else [place / name for name in kept]
    for start in starts:
        _note(start, place, found)
    return found


def _note(path: Path, place: Path, found: Snapshot) -> None:
    try:
        status = path.lstat()
    except OSError:
        return
    content: bytes | str = ""
    size = 0
    if stat.S_ISLNK(status.st_mode):
        content = str(path.readlink())
    elif stat.S_ISREG(status.st_mode):
        size = status.st_size
        is_large = size > CONTENT_COMPARED_BYTES
        content = str(status.st_mtime_ns) if is_large else path.read_bytes()
    elif stat.S_ISDIR(status.st_mode):
        for each in sorted(path.iterdir()):
            _note(each, place, found)
    found[str(path.relative_to(place))] = (status.st_mode, size, content)


def list_changes(before: Snapshot, after: Snapshot) -> list[str]:
    """What differs between two snapshots, by path."""
    return sorted(
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    )
