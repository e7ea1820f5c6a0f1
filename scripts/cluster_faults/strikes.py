"""What happens to a training on several machines: each fault strikes at a moment, and is mended."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster_faults.clock import MovableClock
from cluster_faults.jobs import Job

PAUSE_S = 1.0
CLOCK_STEPS_S = (-86_400, -3600, 3600, 86_400, 400 * 86_400)


@dataclass(frozen=True)
class Scene:
    """Where a fault strikes."""

    job: Job
    clock: MovableClock
    draw: random.Random

    def signal(self, index: int, number: int) -> bool:
        """Send a signal to a worker; whether it ran."""
        pid = self.job.find_worker(index)
        if pid is None:
            return False
        os.kill(pid, number)
        return True

    def draw_other(self) -> int:
        """A worker that is not the chief."""
        return self.draw.randrange(1, self.job.workers)

    def draw_any(self) -> int:
        """A worker."""
        return self.draw.randrange(self.job.workers)

    @property
    def filler(self) -> Path:
        """The file that takes all of the chief's disk."""
        return self.job.run.parent / "filler"


@dataclass(frozen=True)
class Fault:
    """A kind of fault."""

    name: str
    share: int
    """How many of 50 cases."""
    strike: Callable[[Scene], bool]
    """Let it happen; whether there was a job to strike."""
    has_message: bool = True
    """Whether the job ends with a message; it goes on where not."""
    exit_code: int = 0
    """Of the job: what the launcher mends itself ends with 0."""


def kill_worker(scene: Scene) -> bool:
    """kill -9, of a worker that is not the chief."""
    return scene.signal(scene.draw_other(), signal.SIGKILL)


def kill_chief(scene: Scene) -> bool:
    """kill -9, of the chief."""
    return scene.signal(0, signal.SIGKILL)


def stop(scene: Scene) -> bool:
    """A worker that is there, and does nothing any more."""
    return scene.signal(scene.draw_any(), signal.SIGSTOP)


def pause(scene: Scene) -> bool:
    """A worker that does nothing for a moment."""
    index = scene.draw_any()
    if not scene.signal(index, signal.SIGSTOP):
        return False
    time.sleep(PAUSE_S)
    return scene.signal(index, signal.SIGCONT)


def pull_cable(scene: Scene) -> bool:
    """A machine that cannot be reached any more, and cannot say so."""
    scene.job.network.set_cable(scene.draw_any(), is_up=False)
    return scene.job.find_worker(0) is not None


def slow_down(scene: Scene) -> bool:
    """A machine that sends no more than 10 Mbit/s."""
    scene.job.network.slow_down(scene.draw_any(), "10mbit")
    return scene.job.find_worker(0) is not None


def fill_disk(scene: Scene) -> bool:
    """No space where the chief writes the run."""
    with scene.filler.open("wb", buffering=0) as file:
        for piece in (b"\0" * 65_536, b"\0" * 256):
            with suppress(OSError):
                while True:
                    file.write(piece)
    return scene.job.find_worker(0) is not None


def move_clock(scene: Scene) -> bool:
    """The clock of the machines, an hour to a year away."""
    scene.clock.move(scene.draw.choice(CLOCK_STEPS_S))
    return scene.job.find_worker(0) is not None


FAULTS = (
    Fault("kill -9 of a worker", 10, kill_worker),
    Fault("kill -9 of the chief", 10, kill_chief),
    Fault("a worker stopped (SIGSTOP)", 8, stop),
    Fault("a worker paused for a second", 3, pause, has_message=False),
    Fault("link down", 7, pull_cable),
    Fault("link of 10 Mbit/s", 4, slow_down, has_message=False),
    Fault("disk of the chief full", 5, fill_disk, exit_code=5),
    Fault("clock moved", 3, move_clock, has_message=False),
)
