"""The figures of a step that several workers share; a part of `results`, which see.

W is the number of workers, a process each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

WORKER_STAGES = ("compute", "waiting", "communication", "update")
"""The parts of a step, as one worker sees them:

    compute         forward and backward pass over its lanes, until it has all gradients
    waiting         for the worker that has them last
    communication   adding gradients and loss over the workers, once all of them are ready
    update          the rest: norm, clipping, optimizer
"""


def count_sent_bytes(workers: int, summed_bytes: int) -> float:
    """Bytes that each worker sends while a ring of W workers adds S bytes: 2 (W - 1) / W S.

    Source: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of
    workstations".

    >>> count_sent_bytes(4, 1_000)
    1500.0
    """
    return 2 * (workers - 1) / workers * summed_bytes


@dataclass(frozen=True)
class WorkersStep:
    """A training step that W > 1 workers on one machine do together, seen by the first."""

    workers: int
    """W."""
    step_s: tuple[float, ...]
    """Steps without markers, alternating with those that the stages come from."""
    stages_s: Mapping[str, tuple[float, ...]]
    """By `WORKER_STAGES`, from steps with markers; sample i of every stage is of one step."""
    sums_s: Mapping[int, tuple[float, ...]]
    """Adding one vector alone, by its bytes; the largest has those of a step."""

    @property
    def summed_bytes(self) -> int:
        """Bytes of the gradients and the loss (S)."""
        return max(self.sums_s)

    @property
    def sent_bytes(self) -> float:
        """Bytes that each worker sends in a step."""
        return count_sent_bytes(self.workers, self.summed_bytes)

    @property
    def share(self) -> float:
        """The part of the step that communication takes; waiting is not counted."""
        medians_s = {stage: median(taken) for stage, taken in self.stages_s.items()}
        return medians_s["communication"] / sum(medians_s.values())

    @property
    def closure(self) -> float:
        """All stages of a step added up, over a step without markers.

        1 where nothing overlaps; more where the markers keep something from overlapping.
        """
        return median(map(sum, zip(*self.stages_s.values(), strict=True))) / median(self.step_s)


@dataclass(frozen=True)
class CommunicationFit:
    """A fit of t(W, S) = latency 2 (W - 1) + sent(W, S) / bandwidth; see `analysis.communication`.

    With each, the ends of its 95 % interval.
    """

    latency_s: float
    """Seconds of one of the 2 (W - 1) messages of each worker, however small."""
    latency_low_s: float
    latency_high_s: float
    bandwidth_bytes_per_s: float
    """Bytes a second that a worker sends; infinite where time does not grow with them."""
    bandwidth_low: float
    bandwidth_high: float
    workers: tuple[int, ...]
    """The W that were fitted."""

    def predict_s(self, workers: int, summed_bytes: int) -> float:
        """Seconds of adding S bytes over W workers, by the fit."""
        sent_bytes = count_sent_bytes(workers, summed_bytes)
        return self.latency_s * 2 * (workers - 1) + sent_bytes / self.bandwidth_bytes_per_s


@dataclass(frozen=True)
class NetworkStep:
    """A step of W machines on a network, by the model; nothing of it was measured on a network."""

    workers: int
    """W, one on each machine."""
    rate_gbit_per_s: float
    """Of the network, each way."""
    step_s: float
    speed_up: float
    """Over one machine."""


@dataclass(frozen=True)
class WorkersProfile:
    """Training steps of 1, 2, ... workers on this machine, and what a network would give."""

    alone_s: Mapping[int, tuple[float, ...]]
    """One process on all threads, with the lanes that one of W workers has: seconds by W."""
    steps: Sequence[WorkersStep]
    """By W, ascending, from 2."""
    fit: CommunicationFit
    network: Sequence[NetworkStep]
    remark: str
    """What the figures mean on this machine."""
