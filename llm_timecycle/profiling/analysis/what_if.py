"""What a training step would take under other settings.

It is estimated from a step that was measured. That of each layer's pass has two parts, its
products at the measured peak and the rest:

    products'  = FLOPs of the products' / peak'
    rest'      = rest * bytes of the pass' / bytes of the pass

A change of precision changes the products only, one of the vocabulary both. The update scales with
the number of weights. A layer that the measured model lacks is estimated by its products alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from llm_timecycle.config.settings import Settings
from llm_timecycle.config.weight_shapes import count_parameters
from llm_timecycle.profiling.analysis.flops import (
    count_step_costs,
    find_product_type,
)
from llm_timecycle.profiling.results import Profile, TrainingCycle

PASSES = ("forward", "backward")


@dataclass(frozen=True)
class StepModel:
    """A measured step, and the estimate of another one.

    Shapes: B batch, T time, V vocabulary, E embedding, H hidden units.
    """

    settings: Settings
    """Those of the measured step, threads and precision resolved."""
    vocab_size: int
    """V."""
    cycle: TrainingCycle
    limits: Mapping[str, float]
    """Peak FLOPs a second of matrix products, by type: `float32`, `bfloat16`."""

    @cached_property
    def step_s(self) -> float:
        """The measured step."""
        return self.cycle.sum_s

    def estimate_saving_s(self, settings: Settings, vocab_size: int | None = None) -> float:
        """Seconds of a step that these settings would save; below 0 where they would cost time."""
        return self._estimate_s(self.settings, self.vocab_size) - self._estimate_s(
            settings, vocab_size or self.vocab_size
        )

    def sum_layer_s(self, layer: str) -> float:
        """Seconds of a step that a layer takes, forward and backward."""
        return sum(self._times_s.get((layer, each), 0.0) for each in PASSES)

    def _estimate_s(self, settings: Settings, vocab_size: int) -> float:
        """Forward, backward and update of a step."""
        weights = count_parameters(settings.model, vocab_size)
        weights_before = count_parameters(self.settings.model, self.vocab_size)
        total_s = self.cycle.stages["update"].median_s * weights / weights_before
        before = self._bound_passes(self.settings, self.vocab_size)
        for key, (bound_s, moved) in self._bound_passes(settings, vocab_size).items():
            if key not in self._times_s:  # a layer that the measured model lacks
                total_s += bound_s
                continue
            measured_s, (bound_before_s, moved_before) = self._times_s[key], before[key]
            rest_s = max(measured_s - bound_before_s, 0.0)
            # Products that beat the measured peak will do so again.
            pace = min(measured_s / bound_before_s, 1.0) if bound_before_s > 0 else 1.0
            total_s += bound_s * pace + rest_s * moved / moved_before
        return total_s

    @cached_property
    def _times_s(self) -> dict[tuple[str, str], float]:
        """Seconds of each layer's passes, scaled to add up to the stages."""
        times_s: dict[tuple[str, str], float] = {}
        for each in PASSES:
            taken = {layer: passes[each].median_s for layer, passes in self.cycle.layers.items()}
            scale = self.cycle.stages[each].median_s / (sum(taken.values()) or 1.0)
            times_s |= {(layer, each): seconds * scale for layer, seconds in taken.items()}
        return times_s

    def _bound_passes(
        self, settings: Settings, vocab_size: int
    ) -> dict[tuple[str, str], tuple[float, int]]:
        """The least seconds of each pass's products; its bytes, in the type that was measured."""
        peak = self.limits[find_product_type(settings)]
        changed = settings.model_copy(update={"training": self.settings.training})
        costs = count_step_costs(changed, vocab_size)
        passes = [cost for cost in costs if cost.stage in PASSES]
        return {(c.layer, c.stage): (c.products / peak, c.bytes_moved) for c in passes}


def make_step_model(profile: Profile) -> StepModel | None:
    """The model of a profile's step; None where the step or the peaks were not measured."""
    if profile.training is None or not {"float32", "bfloat16"} <= profile.limits.keys():
        return None
    return StepModel(profile.settings, profile.vocab_size, profile.training, profile.limits)
