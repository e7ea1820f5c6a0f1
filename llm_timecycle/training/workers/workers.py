"""The processes that train together, as each of them sees them; here, a process that trains alone.

`collective.py` has the other kind. What is written once against `Workers` is the same training,
whatever their number: every decision that depends on a clock, a signal or a file is the chief's, or
is agreed on, and every worker computes all else from equal numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from llm_timecycle.training.schedules import Plan, read_plans, write_plans

WAITING_S = 1800.0
"""How long workers wait for one another where a step is not what they do: at a barrier."""


@dataclass(frozen=True)
class Moment:
    """What is decided between two steps by something other than the numbers of the training."""

    signal_number: int | None = None
    """A signal asked the work to stop."""
    is_stopped: bool = False
    """A callback asked for the end of the training."""
    is_plan_due: bool = False
    """By the chief's clock: a plan is to be made for the rest of the budget."""
    is_save_due: bool = False
    """By the chief's clock: the last checkpoint is long ago."""


class Workers:
    """A process that trains alone: it has all lanes, and decides for itself."""

    size = 1
    """How many workers train together (W)."""
    index = 0
    """Of this one."""
    threads: int | None = None
    """CPU threads of this worker; None leaves them to the settings."""

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the run."""
        return self.index == 0

    def own_lanes(self, lanes: int) -> range:
        """Which of the `lanes` lanes of a step this worker computes."""
        return range(lanes * self.index // self.size, lanes * (self.index + 1) // self.size)

    def add(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """In a graph: the sums of each tensor over the workers."""
        return list(tensors)

    def add_numbers(self, numbers: Sequence[float]) -> list[float]:
        """The sums of each number over the workers, added in float64."""
        return list(numbers)

    def send(self, content: bytes) -> bytes:
        """What the chief gives, for every worker; what the others give is ignored."""
        return content

    def send_tensors(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The chief's arrays by name, for every worker; the others give arrays of their shapes."""
        return dict(tensors)

    def join_lanes(self, own: np.ndarray, lanes: int) -> np.ndarray:
        """All `lanes` lanes (B, ...) of what every worker has for its own."""
        return own

    def agree(self, moment: Moment) -> Moment:
        """The same moment for every worker: any one's signal or callback, the chief's clock."""
        return moment

    def choose(self, is_so: bool) -> bool:
        """The chief's answer."""
        return is_so

    @contextmanager
    def together(self, task: str, limit_s: float = WAITING_S) -> Iterator[None]:
        """A context that no worker leaves before the others, and where one fails, all do.

        Args:
            task: what is done in it, for a message. limit_s: how long it may take, in seconds.
        """
        yield

    def note_step(self, step: int, *, is_compiled: bool) -> None:
        """Tell who watches this worker that it has done `step` steps.

        Args:
            is_compiled: whether there was a step of its width before, in this session.
        """

    def note_work(self) -> None:
        """Tell who watches this worker that what `allow` allows goes on: its time begins anew."""

    def allow(self, task: str, limit_s: float = WAITING_S) -> AbstractContextManager[None]:
        """A context in which something other than a step may take so long, in seconds."""
        return nullcontext()


ALONE = Workers()


def share_plans(workers: Workers, plans: tuple[Plan, ...]) -> tuple[Plan, ...]:
    """The chief's plans, for every worker."""
    if workers.size == 1:
        return plans
    return read_plans(json.loads(workers.send(json.dumps(write_plans(plans)).encode())))
