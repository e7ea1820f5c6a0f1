"""What a training step would take under other settings, from what it takes and what it would do.

The time of each layer's pass is divided in two: its products at the measured ceiling, and the rest.

    products'  = product operations' / ceiling'
    rest'      = rest * bytes of the pass' / bytes of the pass

so a change of the precision changes the products only, and one of the vocabulary both. The update
goes with the number of weights. A layer that was not there before is put at its products alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

from llm_timecycle.config.settings import ModelSettings, Settings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.profiling.analysis.flops import count_step_work
from llm_timecycle.profiling.results import Profile, TrainingCycle

PASSES = ("forward", "backward")


@dataclass(frozen=True)
class StepModel:
    """A measured step, and the estimate of another one.

    Shapes: B batch, T time, V vocabulary, E embedding, H hidden units.
    """

    settings: Settings
    """As they were when it was measured, threads and precision resolved."""
    vocab_size: int
    """V."""
    cycle: TrainingCycle
    ceilings: Mapping[str, float]
    """Operations a second of products, by type: `float32`, `bfloat16`."""

    @cached_property
    def step_s(self) -> float:
        """The measured step."""
        return self.cycle.sum_s

    def estimate_saving_s(self, settings: Settings, vocab_size: int | None = None) -> float:
        """Seconds of a step that these settings would save; below 0 where they would cost time."""
        return self._estimate_s(self.settings, self.vocab_size) - self._estimate_s(
            settings, vocab_size or self.vocab_size
        )

    def add_layer_s(self, layer: str) -> float:
        """Seconds of a step that a layer takes, forward and backward."""
        return sum(self._times_s.get((layer, each), 0.0) for each in PASSES)

    def _estimate_s(self, settings: Settings, vocab_size: int) -> float:
        """Forward, backward and update of a step."""
        weights = _count_weights(settings.model, vocab_size)
        weights_before = _count_weights(self.settings.model, self.vocab_size)
        total_s = self.cycle.stages["update"].median_s * weights / weights_before
        products = self._bound_products_s(settings, vocab_size)
        products_before = self._bound_products_s(self.settings, self.vocab_size)
        moved = self._count_bytes(settings, vocab_size)
        moved_before = self._count_bytes(self.settings, self.vocab_size)
        for key, bound_s in products.items():
            if key not in self._times_s:  # a layer that was not there before
                total_s += bound_s
                continue
            measured_s, bound_before_s = self._times_s[key], products_before[key]
            rest_s = max(measured_s - bound_before_s, 0.0)
            # Products that beat the ceiling will do so again.
            pace = min(measured_s / bound_before_s, 1.0) if bound_before_s > 0 else 1.0
            total_s += bound_s * pace + rest_s * moved[key] / moved_before[key]
        return total_s

    @cached_property
    def _times_s(self) -> dict[tuple[str, str], float]:
        """Seconds of each layer's passes, so that they add up to the stages."""
        times_s: dict[tuple[str, str], float] = {}
        for each in PASSES:
            taken = {layer: passes[each].median_s for layer, passes in self.cycle.layers.items()}
            scale = self.cycle.stages[each].median_s / (sum(taken.values()) or 1.0)
            times_s |= {(layer, each): seconds * scale for layer, seconds in taken.items()}
        return times_s

    def _bound_products_s(
        self, settings: Settings, vocab_size: int
    ) -> dict[tuple[str, str], float]:
        """The least seconds of each pass's products."""
        is_half = settings.training.precision == "mixed_bfloat16"
        ceiling = self.ceilings["bfloat16" if is_half else "float32"]
        products = count_products(settings.model, vocab_size, self.cycle.tokens)
        return {
            (layer, each): times * operations / ceiling
            for layer, operations in products.items()
            for each, times in zip(PASSES, (1, 2), strict=True)
        }

    def _count_bytes(self, settings: Settings, vocab_size: int) -> dict[tuple[str, str], int]:
        """The bytes of each pass, in the type that was measured."""
        is_half = self.settings.training.precision == "mixed_bfloat16"
        works = count_step_work(
            settings.model,
            vocab_size,
            batch_size=self.cycle.batch_size,
            sequence_length=self.cycle.sequence_length,
            product_bytes=2 if is_half else 4,
        )
        return {(w.layer, w.stage): w.bytes_moved for w in works if w.stage in PASSES}


def make_step_model(profile: Profile) -> StepModel | None:
    """The model of a profile's step; None where the step or the ceilings were not measured."""
    if profile.training is None or not {"float32", "bfloat16"} <= profile.limits.keys():
        return None
    return StepModel(profile.settings, profile.vocab_size, profile.training, profile.limits)


def count_products(model: ModelSettings, vocab_size: int, tokens: int) -> dict[str, int]:
    """The operations of each layer's matrix products, forward; backward they are twice as many.

    >>> model = ModelSettings(embedding_dim=2, hidden_units=3, num_layers=1)
    >>> count_products(model, vocab_size=5, tokens=1)  # 2 (2 + 3) 12, 2 x 3 x 5
    {'embedding': 0, 'lstm_1': 120, 'output': 30}
    """
    V, E, H = vocab_size, model.embedding_dim, model.hidden_units
    products = {"embedding": 0}
    for layer in range(1, model.num_layers + 1):
        D = E if layer == 1 else H
        products[f"lstm_{layer}"] = 2 * tokens * (D + H) * 4 * H
    if model.tie_embeddings and E != H:
        products["projection"] = 2 * tokens * H * E
    products["output"] = 2 * tokens * (E if model.tie_embeddings else H) * V
    return products


def _count_weights(model: ModelSettings, vocab_size: int) -> int:
    return sum(prod(shape) for shape in compute_parameter_shapes(model, vocab_size).values())
