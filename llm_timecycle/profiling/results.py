"""What a profile found: times of stages, work, ceilings, growth, inference, sharing, advice.

Plain data, made by the measuring modules of this room and read by the report, the tables and the
advice. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from llm_timecycle.profiling.analysis.amdahl import AmdahlFit
from llm_timecycle.profiling.analysis.power_law import GrowthFit
from llm_timecycle.profiling.analysis.roofline import RooflinePoint

TRAINING_STAGES = ("input", "forward", "backward", "update", "other")
GROWTH_AXES = ("T", "B", "E", "H", "L", "V", "length")


@dataclass(frozen=True)
class Durations:
    """Repeated timings of one thing."""

    samples_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The middle one."""
        return median(self.samples_s)

    @property
    def p95_s(self) -> float:
        """The one that 95 of 100 stay below."""
        return self.percentile_s(95)

    def percentile_s(self, percent: float) -> float:
        """The one that so many of 100 stay below."""
        return float(np.percentile(self.samples_s, percent))


@dataclass(frozen=True)
class TrainingCycle:
    """Where the time of a training step goes."""

    stages: dict[str, Durations]
    """By `TRAINING_STAGES`; of each step, so that they add up step by step."""
    layers: dict[str, dict[str, Durations]]
    """By layer (embedding, lstm_1, ..., output), its forward and backward part."""
    wall: Durations
    """Undisturbed steps, measured in turn with those that the stages come from."""
    hidden_input: Durations
    """Input processing that ran while the step before computed, and cost the step nothing."""
    batch_size: int
    sequence_length: int

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.batch_size * self.sequence_length

    @property
    def sum_s(self) -> float:
        """All stages of a typical step together."""
        return median(map(sum, zip(*(d.samples_s for d in self.stages.values()), strict=True)))

    @property
    def closure(self) -> float:
        """The sum of the stages over the wall time of an undisturbed step; 1 where all is told."""
        return self.sum_s / self.wall.median_s

    def share(self, stage: str) -> float:
        """The part of the step that a stage takes."""
        return self.stages[stage].median_s / sum(d.median_s for d in self.stages.values())


@dataclass(frozen=True)
class InferenceCycle:
    """Where the time of one request goes."""

    engine: str
    prompt_tokens: int
    new_tokens: int
    load: Durations
    """Reading the run's files into an engine that is ready."""
    cold_first_token: Durations
    """From the start of a process to its first token."""
    prefill: Durations
    """Reading the whole prompt."""
    first_token: Durations
    """From a warm request to its first token, the prompt included."""
    per_output_token: Durations
    """(end to end - first token) / (N - 1), a request each."""
    between_tokens: Durations
    """Every gap from one token to the next."""
    step: Durations
    """The engine's part of a token."""
    sampling: Durations
    """The choice of a token."""
    decoding: Durations
    """From its id to text."""
    tokens_per_s: dict[int, float]
    """At each batch size, all rows together."""


@dataclass(frozen=True)
class Growth:
    """How the time of a step grows along one axis."""

    axis: str
    fit: GrowthFit
    predicted_exponent: float
    """The exponent of the operation count over the same sizes."""
    explanation: str
    """One sentence: where and why the two part."""
    samples_s: dict[float, tuple[float, ...]]
    counts: dict[float, float] = field(default_factory=dict)
    """The operations at each size."""


@dataclass(frozen=True)
class Sweep:
    """One thing varied, each value in a process of its own."""

    name: str
    """threads, prefetch depth, encoding workers, or replicas."""
    samples_s: dict[int, tuple[float, ...]]
    """Seconds of the same work at each value."""
    fit: AmdahlFit | None
    """None where fewer than two values could be measured."""
    remark: str
    """One sentence: what the figures mean here."""
    overlap_won_s: float | None = None
    """Of prefetch depth: how much of preparing a window one ahead hides behind computing."""
    overlap_possible_s: float | None = None
    """Of prefetch depth: how much could be hidden, the shorter of preparing and computing."""


@dataclass(frozen=True)
class Advice:
    """One thing that would save time."""

    title: str
    reason: str
    saves_s: float
    """Of a step (training) or a token (inference); 0 where it cannot be said."""
    changes: tuple[str, ...] = ()
    """The settings to try, as KEY=VALUE."""


@dataclass(frozen=True)
class Profile:
    """Everything that one profile measured; parts that were not asked for are None or empty."""

    name: str
    """The run or configuration."""
    machine: dict[str, Any]
    """Processor, cores, memory, system."""
    versions: dict[str, str]
    settings: dict[str, Any]
    """The settings as resolved."""
    parameters: int
    training: TrainingCycle | None = None
    measuring_cost: float = 0.0
    """What the marks add to a step, as a part of it."""
    points: Sequence[RooflinePoint] = ()
    """Stages and layers under the roof."""
    ceilings: dict[str, float] = field(default_factory=dict)
    """Operations a second by type, bytes a second read and copied."""
    growth: Sequence[Growth] = ()
    inference: InferenceCycle | None = None
    sweeps: Sequence[Sweep] = ()
    advice: Sequence[Advice] = ()
    history: Sequence[dict[str, float]] = ()
    """Rows of the run's metrics.csv (step, losses, tokens_per_s), where a run is profiled."""
