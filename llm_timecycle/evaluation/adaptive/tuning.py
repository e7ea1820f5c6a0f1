"""The settings of the cache and of dynamic evaluation, chosen on the validation text alone.

The beginning of the validation text is scored with each candidate of a small grid, and the one of
the lowest loss is taken. Every trial is kept, so that a reader can see whether the best one lies at
the edge of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llm_timecycle.evaluation.adaptive.dynamic import Adaptation
from llm_timecycle.evaluation.adaptive.neural_cache import CacheReach
from llm_timecycle.evaluation.adaptive.result import Trial
from llm_timecycle.evaluation.adaptive.scoring import Predictions

CACHE_TUNED_TOKENS, DYNAMIC_TUNED_TOKENS = 20_000, 10_000
WINDOWS = (500, 2000, 4000)
SHARPNESS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""theta times the mean of |h|^2, so that the grid suits hidden vectors of any length."""
WEIGHTS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7)
FIRST_RATE, FIRST_DECAY = 5e-5, 2e-3
"""Those of the paper, for segments of `USUAL_SEGMENT` tokens."""
USUAL_SEGMENT = 5
STEP, MOST_STEPS = 2.0, 4
"""Factor between neighbouring candidates, and how far they may lie from the first."""


@dataclass(frozen=True)
class CacheSettings:
    """How the cache is used."""

    reach: CacheReach
    weight: float
    """lambda: the share of the cache in the mixture."""

    def to_dict(self) -> dict[str, float]:
        """By name."""
        return {"window": self.reach.window, "theta": self.reach.theta, "weight": self.weight}


def list_reaches(hidden: np.ndarray) -> list[CacheReach]:
    """The candidates for the cache of a model, from some of its hidden vectors (..., H)."""
    mean_square = float(np.mean(np.sum(hidden.astype(np.float64) ** 2, axis=-1)))
    thetas = [sharpness / max(mean_square, 1e-12) for sharpness in SHARPNESS]
    return [CacheReach(window, float(f"{theta:.3g}")) for window in WINDOWS for theta in thetas]


def tune_cache(
    predictions: Predictions, reaches: Sequence[CacheReach]
) -> tuple[CacheSettings, list[Trial]]:
    """The cache with the lowest loss, and every reach with its best weight.

    Args:
        predictions: of the text that is tuned on, with all candidates.
        reaches: the candidates (C).
    """
    trials, best = [], (math.inf, CacheSettings(reaches[0], WEIGHTS[0]))
    for candidate, reach in enumerate(reaches):
        losses = [predictions.compute_loss(candidate, weight) for weight in WEIGHTS]
        place = int(np.argmin(losses))
        settings = CacheSettings(reach, WEIGHTS[place])
        trials.append(Trial(settings.to_dict(), losses[place]))
        if losses[place] < best[0]:
            best = losses[place], settings
    return best[1], trials


def tune_adaptation(
    measure: Callable[[Adaptation], float], segment: int
) -> tuple[Adaptation, list[Trial]]:
    """The adaptation with the lowest loss, found by steps of a factor: first rate, then decay.

    Args:
        measure: the mean loss that an adaptation gives; not a number where it diverges.
        segment: tokens between two changes of the weights.
    """
    scale = segment / USUAL_SEGMENT
    losses: dict[Adaptation, float] = {}

    def try_out(adaptation: Adaptation) -> float:
        if adaptation not in losses:
            loss = measure(adaptation)
            losses[adaptation] = loss if math.isfinite(loss) else math.inf
        return losses[adaptation]

    first = Adaptation(FIRST_RATE * scale, FIRST_DECAY * scale)
    best = _descend(try_out, lambda factor: Adaptation(first.rate * factor, first.decay))
    rate = best.rate
    best = _descend(try_out, lambda factor: Adaptation(rate, first.decay * factor))
    trials = [
        Trial({"rate": each.rate, "decay": each.decay}, loss) for each, loss in losses.items()
    ]
    return best, trials


def _descend(
    try_out: Callable[[Adaptation], float], make: Callable[[float], Adaptation]
) -> Adaptation:
    """The best along one setting: from its first value up by steps, or down if up is worse."""
    best = make(1.0)
    for factor in (STEP, 1 / STEP):
        is_better = False
        for steps in range(1, MOST_STEPS + 1):
            candidate = make(factor**steps)
            if try_out(candidate) >= try_out(best):
                break
            best, is_better = candidate, True
        if is_better:
            break
    return best
