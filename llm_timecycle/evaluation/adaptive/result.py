"""The figures of a text that was scored with memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from llm_timecycle.evaluation.figures import Figures
from llm_timecycle.evaluation.table import Figure


@dataclass(frozen=True)
class Trial:
    """Settings that were tried on the validation text, and the loss that they gave there."""

    settings: Mapping[str, float]
    """By name."""
    loss_nats_per_token: float


@dataclass(frozen=True)
class Outcome:
    """What scoring a text gave, and how it was done."""

    loss_nats: float
    """Of all its tokens together."""
    wall_s: float
    """Seconds, without the tuning."""
    settings: Mapping[str, float]
    tuned_tokens: int
    trials: tuple[Trial, ...]
    method: str


@dataclass(frozen=True)
class AdaptiveScore(Figures):
    """How well a model predicts a text with a cache, with weights that follow it, or with both.

    Its figures have the meaning that they have in `EvaluationResult`.
    """

    ms_per_token: float = field(compare=False)
    """Milliseconds for each token, in the lanes that `method` names; without the tuning."""
    settings: Mapping[str, float]
    """As tuned: `window`, `theta` and `weight` (lambda) of the cache, `rate` and `decay` of the
    weights, and `segment`, the tokens between two changes of them."""
    tuned_tokens: int
    """Tokens at the beginning of the validation text that the settings were tuned on."""
    trials: tuple[Trial, ...]
    """All that was tried."""
    method: str
    """How the text was read."""

    def list_rows(self) -> dict[str, Figure]:
        """What a table shows: what depends on unknown words charges for them, where it can."""
        settings = describe_settings(self.settings)
        bits, charged = self.bits_per_character, self.bits_per_character_with_spelling
        return {
            "perplexity": self.perplexity,
            "bits_per_character": bits if charged is None else charged,
            "ms_per_token": self.ms_per_token,
            "settings": f"{settings}; tuned on {self.tuned_tokens:,} tokens",
            "method": self.method,
        }


def describe_settings(settings: Mapping[str, float]) -> str:
    """Settings in one line.

    >>> describe_settings({"window": 500, "theta": 0.25})
    'window 500, theta 0.25'
    """
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())


def make_score(figures: Figures, ms_per_token: float, outcome: Outcome) -> AdaptiveScore:
    """The score of an outcome, from the figures that follow from its loss."""
    return AdaptiveScore(
        **asdict(figures),
        ms_per_token=ms_per_token,
        settings=outcome.settings,
        tuned_tokens=outcome.tuned_tokens,
        trials=outcome.trials,
        method=outcome.method,
    )
