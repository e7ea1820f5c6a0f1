"""Every state that strikes left, brought to the end of its training, and compared with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boundaries.disk import write_state
from boundaries.ends import (
    describe_end,
    find_advice,
    find_difference,
    find_fault_of_message,
    find_step,
    list_leftovers,
)
from boundaries.processes import start
from boundaries.recording import LONGEST_S, Recording
from boundaries.strikes import Strike, mask

from llm_timecycle.errors import TimecycleError
from llm_timecycle.runs.directory import open_run


@dataclass(frozen=True)
class Ways:
    """The commands that bring a state to the end of a training."""

    run: Path
    """The run directory, as the commands name it."""
    new: Sequence[str]
    """Where there is no run yet."""
    resume: Sequence[str]
    """Where there is one."""


@dataclass
class Recovery:
    """A state, and how it was brought to its end."""

    state: str
    strikes: list[Strike]
    """Those that left it."""
    command: Sequence[str] | None
    """The next one; None when there is no more to do."""
    doomed: str | None
    """What the message of a strike says to delete first."""
    place: Path = Path()
    is_advised: bool = False
    """Whether it took what a message said."""
    resumed_step: int = 0
    """Of the checkpoint from which it went on; 0 where it began anew."""
    weights_problem: str = ""
    """Why the best weights could not be used as they were; "" where they could."""
    problem: str = ""
    """What went wrong on the way, or differs at the end; "" for the same end."""
    leftovers: list[str] = field(default_factory=list)

    def find_loss(self, strike: Strike) -> str:
        """What one of the strikes lost; "" for nothing."""
        if self.problem:
            return self.problem
        if self.resumed_step < strike.step:
            return f"it went on from step {self.resumed_step}, not {strike.step}"
        return self.weights_problem if strike.has_weights else ""


def recover(
    recording: Recording, strikes: Iterable[Strike], ways: Ways, places: Path, jobs: int
) -> Iterator[Recovery]:
    """Bring every distinct state that the strikes left to its end, `jobs` at a time."""
    write_state(recording.end, places / "expected")
    expected = describe_end(places / "expected" / ways.run)
    waiting = _list_recoveries(recording, strikes, ways)
    for number, recovery in enumerate(waiting):
        recovery.place = places / str(number)
    running: dict[int, Recovery] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            recovery = waiting.pop()
            if not recovery.place.exists():
                _prepare(recovery, recording, ways)
            running[_start(recovery, recording)] = recovery
        pid, status = os.wait()
        recovery = running.pop(pid)
        _take(recovery, os.waitstatus_to_exitcode(status), ways)
        if recovery.command is not None:
            waiting.append(recovery)
            continue
        _judge(recovery, expected, ways)
        shutil.rmtree(recovery.place)
        yield recovery


def _list_recoveries(recording: Recording, strikes: Iterable[Strike], ways: Ways) -> list[Recovery]:
    """One for each state and each advice that was given with it, in reverse order."""
    found: dict[tuple[str, str, str], Recovery] = {}
    for strike in strikes:
        doomed, advised = find_advice(strike.output, ways.resume)
        has_run = (recording.store.place / strike.state / ways.run).exists()
        command = advised or (ways.resume if has_run else ways.new)
        key = (strike.state, " ".join(command), doomed or "")
        if key not in found:
            found[key] = Recovery(strike.state, [], command, doomed)
        found[key].strikes.append(strike)
    return list(reversed(found.values()))


def _prepare(recovery: Recovery, recording: Recording, ways: Ways) -> None:
    """Lay out the state, and try to use its best weights as they are."""
    write_state(recording.store.get(recovery.state), recovery.place)
    if any(strike.has_weights for strike in recovery.strikes):
        try:
            open_run(recovery.place / ways.run).load_weights()
        except TimecycleError as error:
            recovery.weights_problem = f"the best weights cannot be loaded: {error}"
    _delete(recovery, ways)


def _delete(recovery: Recovery, ways: Ways) -> None:
    """Do what a message said, and begin a run anew where it was the run."""
    if recovery.doomed is None:
        return
    name = ways.run if recovery.doomed == "it" else recovery.doomed
    shutil.rmtree(recovery.place / name, ignore_errors=True)
    if not (recovery.place / ways.run).exists():
        recovery.command = ways.new
    recovery.doomed = None


def _start(recovery: Recovery, recording: Recording) -> int:
    command, place = recovery.command, recovery.place
    assert command is not None
    return start(lambda: recording.execute(command, place), place.with_suffix(".log"), LONGEST_S)


def _take(recovery: Recovery, exit_code: int, ways: Ways) -> None:
    """Note how a command ended, and choose the next one."""
    log = recovery.place.with_suffix(".log")
    output = log.read_text()
    log.unlink()
    recovery.resumed_step = find_step(output)
    command, recovery.command = recovery.command, None
    if exit_code == 0:
        return
    recovery.doomed, advised = find_advice(output, ways.resume)
    unclear = find_fault_of_message(exit_code, output)
    if unclear or recovery.is_advised or not (recovery.doomed or advised):
        recovery.problem = f"{unclear or 'no way out'}: {output.strip().splitlines()[-1:]}"
        return
    recovery.is_advised, recovery.command = True, advised or command
    _delete(recovery, ways)


def _judge(recovery: Recovery, expected: dict[str, object], ways: Ways) -> None:
    """Compare the end with the one of the training that was left alone."""
    recovery.leftovers = [mask(name) for name in list_leftovers(recovery.place)]
    if not recovery.problem:
        recovery.problem = find_difference(recovery.place / ways.run, expected)
