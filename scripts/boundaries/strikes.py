"""Striking a program at one of its operations: killed, cut off from power, or refused by the disk.

`Striker` watches one run of a program. What a kill or a power cut would leave at each operation is
read off there. What a fault leads to is tried: the process is forked at the operation, the child
meets the fault in a copy of the directory under the same name and goes on to its end, and the
program itself goes on as if nothing had been.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from boundaries.disk import Disk, State, hash_state, read_state, write_state
from boundaries.operations import GROWING, OPENS_DIRECTORY, Operation, Perform, Watch
from boundaries.processes import fork, redirect_output, wait

WENT_ON = 77
"""The exit code of a child that a fork does not let go on: the fault has to be met without one."""
LONGEST_S = 30
"""After which a child is given up."""


@dataclass(frozen=True)
class Fault:
    """What an operation meets, and those after it."""

    name: str
    error: int = 0
    """What the system reports; 0: nothing, a short write apart."""
    refused: tuple[str, ...] = ()
    """The kinds of operations that meet it; none: all."""
    is_lasting: bool = False
    """Whether later operations meet it too."""
    halves: Literal["", "first", "all"] = ""
    """Which writes write only their first half: none, only the first that meets it, or all."""
    is_kill: bool = False
    """Whether it ends the process."""

    def fits(self, operation: Operation) -> bool:
        """Whether an operation can meet it."""
        return not self.refused or operation.kind in self.refused

    def meet(self, operation: Operation, perform: Perform, *, is_first: bool) -> Any:
        """Let an operation meet it: in place of `perform`, and as that returns or fails."""
        if not self.fits(operation) or not (is_first or self.is_lasting):
            return perform()
        half = operation.content[: len(operation.content) // 2]
        written = None
        if half and (self.halves == "all" or (self.halves == "first" and is_first)):
            written = perform(half)
        if self.is_kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if written is not None:
            return written
        if self.error == 0:
            return perform()
        raise OSError(self.error, os.strerror(self.error), operation.path)


KILLED = Fault("SIGKILL", is_kill=True)
SHORT = Fault("short writes", refused=("write",), is_lasting=True, halves="all")
FAULTS = (
    Fault("killed in a write", refused=("write",), halves="first", is_kill=True),
    Fault("ENOSPC", errno.ENOSPC),
    Fault("EIO", errno.EIO),
    Fault("EACCES", errno.EACCES),
    Fault("full from here", errno.ENOSPC, GROWING, is_lasting=True, halves="first"),
    Fault("read-only from here", errno.EROFS, is_lasting=True),
)


@dataclass(frozen=True)
class Strike:
    """One of them, and what it left."""

    number: int
    """Of the operation, from 0."""
    operation: str
    kind: str
    """A kill, a power cut, or the name of a fault."""
    state: str
    """What is left: the name of a state in the store."""
    step: int
    """Of the newest checkpoint that was finished before."""
    has_weights: bool
    """Whether best weights were there before."""
    exit_code: int = 0
    output: str = ""
    """How the program ended, and what it printed, where it met a fault."""


class Store:
    """Distinct states, each in a directory; and a list of strikes beside them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(parents=True, exist_ok=True)

    def put(self, state: State) -> str:
        """Keep a state; returns its name."""
        name = hash_state(state)
        if not (self.place / name).exists():
            write_state(state, self.place / name)
        return name

    def get(self, name: str) -> State:
        """The state of that name."""
        return read_state(self.place / name)

    def add(self, strike: Strike) -> None:
        """Keep a strike."""
        with (self.place / "strikes.jsonl").open("a") as file:
            file.write(json.dumps(asdict(strike)) + "\n")

    def list_strikes(self) -> list[Strike]:
        """Every strike, in order."""
        lines = (self.place / "strikes.jsonl").read_text().splitlines()
        return [Strike(**json.loads(line)) for line in lines]


class Striker:
    """Strikes at every operation of a program; `around` is for `operations.watch`.

    Args:
        place: the directory that is watched.
        run: the run in it that is trained.
        store: where states and strikes go; not below `place`.
        choose: the faults to try at an operation of that number, where they fit, by forking.
        enter_child: called in each child.
        every: strike only at each operation that is a multiple of this.
    """

    def __init__(
        self,
        place: Path,
        run: Path,
        store: Store,
        choose: Callable[[int], Sequence[Fault]],
        enter_child: Callable[[], None] = lambda: None,
        every: int = 1,
    ) -> None:
        self.operations: list[str] = []
        self.disk = Disk(place)
        self._place, self._run, self._store, self._choose = place, run, store, choose
        self._enter_child, self._every = enter_child, every
        self._fault: Fault | None = None
        self._settled: tuple[int, bool] = (0, False)
        self.watching: Watch | None = None

    def around(self, operation: Operation, perform: Perform) -> Any:
        """Strike at an operation, then let it be done."""
        if self._fault is not None:  # in a child
            return self._fault.meet(operation, perform, is_first=False)
        number, state = len(self.operations), read_state(self._place)
        self.operations.append(mask(str(operation)))
        if operation.kind not in (OPENS_DIRECTORY, "fsync"):  # these finish what is there
            self._settled = find_settled(state, self._run)
        if number % self._every == 0:
            self._note_losses(state)
            for fault in self._choose(number):
                if fault.fits(operation) and self._try(fault, state):
                    self._fault = fault
                    return fault.meet(operation, perform, is_first=True)
        result = perform()
        self.disk.note(operation)
        return result

    @property
    def is_child(self) -> bool:
        """Whether this is a child, which met a fault."""
        return self._fault is not None

    def finish(self) -> list[str]:
        """Note the end, which a power cut must leave as it is; returns what it would take."""
        self.operations.append("the end")
        state = read_state(self._place)
        self._settled = find_settled(state, self._run)
        self._note_losses(state)
        return self.disk.list_unflushed()

    def _note_losses(self, state: State) -> None:
        """Note what a kill and what power cuts leave."""
        self._note("killed", state)
        for state in {hash_state(cut): cut for cut in self.disk.list_cuts()}.values():
            self._note("power cut", state)

    def _note(self, kind: str, state: State, exit_code: int = 0, output: str = "") -> None:
        number, name = len(self.operations) - 1, self._store.put(state)
        known = (number, self.operations[-1], kind, name, *self._settled)
        self._store.add(Strike(*known, exit_code, output))

    def _try(self, fault: Fault, state: State) -> bool:
        """Whether this is the child; in the parent, what became of the child is noted."""
        aside, log = self._place.with_suffix(".aside"), self._place.with_suffix(".log")
        self._place.rename(aside)
        write_state(state, self._place)
        try:
            pid = fork()
        except RuntimeError:  # the library that locks files does not let it
            pid, code, output = -1, WENT_ON, ""
        if pid == 0:
            signal.alarm(LONGEST_S)
            redirect_output(log)
            os.chdir(self._place)
            self._reopen()
            self._enter_child()
            return True
        if pid > 0:
            code, output = wait(pid), log.read_text()
        self._note(fault.name, read_state(self._place), code, output)
        shutil.rmtree(self._place)
        aside.rename(self._place)
        return False

    def _reopen(self) -> None:
        """Have what is open lead to the copy of the directory; what was deleted, to nowhere."""
        assert self.watching is not None
        for descriptor, (name, flags) in list(self.watching.descriptors.items()):
            path, kept = self._place / name, flags & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC)
            copy = os.open(path if path.exists() else os.devnull, kept)
            if not path.is_dir():
                os.lseek(copy, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(copy, descriptor)
            os.close(copy)


def find_settled(state: State, run: Path) -> tuple[int, bool]:
    """The step of a run's newest checkpoint, 0 without one; whether it has best weights."""
    found = (re.fullmatch(rf"{run}/checkpoints/step-(\d+)", name) for name in state)
    newest = max((int(match[1]) for match in found if match), default=0)
    return newest, f"{run}/model.safetensors" in state


def mask(text: str) -> str:
    """A text without the names that are others in each process."""
    return re.sub(r"\.\d+\.tmp\b|(?<=[.-])[a-z0-9_]{8}(?=[/ ]|$)", "*", text)
