"""The figures of a profile: what `measure` and `analysis` find, and `render` shows.

Plain data. Times are in seconds, FLOPs are counted (`analysis.flops`), not measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from llm_timecycle.profiling.worker_results import WorkersProfile

if TYPE_CHECKING:  # the command line imports this file before it needs any settings
    from llm_timecycle.config.settings import Settings

TRAINING_STAGES = ("input", "forward", "backward", "update", "other")
GROWTH_AXES = ("T", "B", "E", "H", "L", "V", "length")


@dataclass(frozen=True)
class Durations:
    """Repeated timings of one thing, in seconds."""

    samples_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The median."""
        return median(self.samples_s)

    def percentile_s(self, percent: float) -> float:
        """The time that `percent` of 100 timings do not exceed, interpolated linearly."""
        import numpy as np

        return float(np.percentile(self.samples_s, percent))


@dataclass(frozen=True)
class TrainingCycle:
    """Where the time of a training step goes."""

    stages: dict[str, Durations]
    """By `TRAINING_STAGES`, from steps with markers; sample i of every stage is of one step."""
    layers: dict[str, dict[str, Durations]]
    """By layer (embedding, lstm_1, ..., output), its forward and backward pass run alone."""
    wall: Durations
    """Steps without markers, alternating with those that the stages come from."""
    hidden_input: Durations
    """Input processing that overlapped with computation, so the step did not wait for it."""
    batch_size: int
    sequence_length: int

    @property
    def tokens(self) -> int:
        """Tokens per step, B T."""
        return self.batch_size * self.sequence_length

    @property
    def sum_s(self) -> float:
        """All stages of a step added up: the median over the steps with markers."""
        return median(map(sum, zip(*(d.samples_s for d in self.stages.values()), strict=True)))

    @property
    def closure(self) -> float:
        """The stages of steps with markers, added up, over a step without markers.

        1 where the stages account for the whole step and the markers cost nothing.
        """
        return self.sum_s / self.wall.median_s

    def share(self, stage: str) -> float:
        """The part of the step that a stage takes."""
        return self.stages[stage].median_s / sum(d.median_s for d in self.stages.values())


@dataclass(frozen=True)
class Roofline:
    """What a machine can do at most, by the roofline model."""

    peak_operations_per_s: float
    """FLOPs a second of its best matrix product."""
    bandwidth_bytes_per_s: float
    """Bytes a second that its memory delivers."""

    @property
    def ridge(self) -> float:
        """The arithmetic intensity, in FLOPs a byte, at which both limits take equally long."""
        return self.peak_operations_per_s / self.bandwidth_bytes_per_s

    def limit_operations_per_s(self, intensity: float) -> float:
        """The most FLOPs a second that are possible at an arithmetic intensity."""
        return min(self.peak_operations_per_s, intensity * self.bandwidth_bytes_per_s)


@dataclass(frozen=True)
class RooflinePoint:
    """One stage or layer on the roofline; see `analysis.roofline`."""

    name: str
    operations: int
    """FLOPs."""
    bytes_moved: int
    measured_s: float
    roofline: Roofline

    @property
    def operations_per_s(self) -> float:
        """FLOPs a second achieved."""
        return self.operations / self.measured_s

    @property
    def bytes_per_s(self) -> float:
        """Bytes a second achieved, counting the fewest bytes that must move."""
        return self.bytes_moved / self.measured_s

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: FLOPs for each byte moved; infinite where nothing moves."""
        return self.operations / self.bytes_moved if self.bytes_moved else math.inf

    @property
    def bound_s(self) -> float:
        """The least time for the stage: that of its FLOPs or that of its bytes."""
        return max(
            self.operations / self.roofline.peak_operations_per_s,
            self.bytes_moved / self.roofline.bandwidth_bytes_per_s,
        )

    @property
    def binding(self) -> Literal["compute", "memory"]:
        """Which limit binds; at the ridge, compute."""
        return "compute" if self.intensity >= self.roofline.ridge else "memory"

    @property
    def share(self) -> float:
        """The least time over the measured one: 1 where the machine's limit is reached."""
        return self.bound_s / self.measured_s


@dataclass(frozen=True)
class GrowthFit:
    """A fit of time(n) = a + b n^k; see `analysis.power_law`."""

    constant_s: float
    """a, the seconds that every size pays."""
    coefficient_s: float
    """b, the seconds of n = 1 without the constant; 0 where time does not grow."""
    exponent: float
    """k; 0 where time does not grow."""
    exponent_low: float
    """Lower end of the 95 % interval of k; 0 where the data do not show that time grows."""
    exponent_high: float
    """Upper end; `analysis.power_law.HIGHEST_EXPONENT` where the data do not bound it."""
    misfit: float
    """1 where noise may explain what the curve misses, else what the interval was widened by."""
    sizes: tuple[float, ...]
    """n, ascending."""
    times_s: tuple[float, ...]
    """The typical time at each size."""

    def predict_s(self, size: float) -> float:
        """Seconds at n = `size`, by the fit."""
        return self.constant_s + self.coefficient_s * math.pow(size, self.exponent)


@dataclass(frozen=True)
class Growth:
    """How the time of a step grows along one axis."""

    axis: str
    fit: GrowthFit
    predicted_exponent: float
    """The exponent of the FLOPs over the same sizes."""
    explanation: str
    """One sentence: whether time and FLOPs grow alike, and why not."""
    samples_s: dict[float, tuple[float, ...]]
    counts: dict[float, float] = field(default_factory=dict)
    """FLOPs at each size."""


@dataclass(frozen=True)
class InferenceCycle:
    """Where the time of one request goes."""

    engine: str
    prompt_tokens: int
    new_tokens: int
    load: Durations
    """From the path of the run to an engine that is ready."""
    cold_first_token: Durations
    """From the start of a process to its first token."""
    prefill: Durations
    """Reading the whole prompt."""
    first_token: Durations
    """TTFT: from a request to a loaded engine to its first token, the prompt included."""
    per_output_token: Durations
    """TPOT: (end to end - first token) / (N - 1), one per request."""
    between_tokens: Durations
    """ITL: every gap from one token to the next."""
    step: Durations
    """The engine's part of a gap."""
    sampling: Durations
    """Drawing the token from the logits."""
    decoding: Durations
    """From its id to text."""
    tokens_per_s: dict[int, float]
    """By batch size, all rows together."""


@dataclass(frozen=True)
class AmdahlFit:
    """A fit of t(n) = t(1) (s + (1 - s) / n); see `analysis.amdahl`."""

    serial_fraction: float
    """s, 0 to 1."""
    serial_low: float
    serial_high: float
    """The ends of the 95 % interval of s."""

    def predict_speed_up(self, workers: int) -> float:
        """The speed-up of `workers` workers, by the law."""
        return 1 / (self.serial_fraction + (1 - self.serial_fraction) / workers)


@dataclass(frozen=True)
class Sweep:
    """The same work timed at several values of one setting."""

    name: str
    """threads, replicas, or prefetch depth."""
    samples_s: dict[int, tuple[float, ...]]
    """Seconds of the same work at each value."""
    fit: AmdahlFit | None
    """None where fewer than two values have a core for each worker."""
    remark: str
    """One sentence: what the figures mean on this machine."""


@dataclass(frozen=True)
class Advice:
    """One change that would save time."""

    title: str
    reason: str
    saves_s: float
    """Of a step (training) or of a token (inference)."""
    changes: tuple[str, ...] = ()
    """The settings to try, as KEY=VALUE."""


@dataclass(frozen=True)
class ComparedTime:
    """One time of two profiles, A and B."""

    name: str
    a_s: float
    b_s: float
    """Medians."""
    ratio: float
    """a_s / b_s: below 1 where A is faster."""
    low: float
    high: float
    """The 95 % interval of the ratio."""

    @property
    def verdict(self) -> Literal["A is faster", "A is slower", "within the noise"]:
        """What the interval allows to say."""
        if self.low <= 1 <= self.high:
            return "within the noise"
        return "A is faster" if self.ratio < 1 else "A is slower"


@dataclass(frozen=True)
class Profile:
    """Everything that one profile measured; parts that were not asked for are None or empty."""

    name: str
    """The run or configuration."""
    machine: dict[str, Any]
    """Processor, cores, memory, system."""
    versions: dict[str, str]
    settings: Settings
    """Threads and precision resolved."""
    vocab_size: int
    """V."""
    training: TrainingCycle | None = None
    points: Sequence[RooflinePoint] = ()
    """Stages and layers on the roofline."""
    limits: dict[str, float] = field(default_factory=dict)
    """The machine's limits: FLOPs a second by type, bytes a second read and copied."""
    growth: Sequence[Growth] = ()
    inference: InferenceCycle | None = None
    sweeps: Sequence[Sweep] = ()
    workers: WorkersProfile | None = None
    advice: Sequence[Advice] = ()
    history: Sequence[dict[str, float]] = ()
    """Rows of the run's metrics.csv (step, losses, tokens_per_s), where a run is profiled."""

    @property
    def parameters(self) -> int:
        """Weights of the network."""
        from llm_timecycle.config.weight_shapes import count_parameters

        return count_parameters(self.settings.model, self.vocab_size)
