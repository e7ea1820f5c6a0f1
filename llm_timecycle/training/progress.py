"""How far a run has come: all that the loop must know to go on, beside weights and LSTM state."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.errors import RunError


@dataclass
class Progress:
    """Where a run stands. It is written into every checkpoint and read back from it."""

    step: int = 0
    """Steps done."""
    tokens: int = 0
    """Tokens trained on."""
    wall_s: float = 0.0
    """Seconds spent training, over all its sessions."""
    validated_step: int = 0
    """The step after which validation last ran."""
    best_loss: float = math.inf
    """The lowest validation loss, nats a token."""
    best_step: int = 0
    """The step after which it was reached."""
    validations_since_best: int = 0
    """Validations since then."""
    plateau_scale: float = 1.0
    """What `schedule: plateau` has multiplied the rate by."""
    plateau_wait: int = 0
    """Validations without a new best since the rate was last changed."""
    learning_rate: float = 0.0
    """The rate of the last step."""
    gradient_norm: float = 0.0
    """Its gradient norm before clipping."""
    logged_step: int = 0
    """The step of the last row of metrics.csv."""
    logged_wall_s: float = 0.0
    """Its `wall_s`."""
    loss_sum: float = 0.0
    """Nats over the tokens since that row."""
    loss_tokens: int = 0
    """Tokens since that row."""
    metrics_bytes: int = 0
    """How long metrics.csv was."""

    def note_validation(self, loss: float, settings: TrainingSettings) -> bool:
        """Take in a validation loss; whether it is the best so far."""
        is_best = loss < self.best_loss
        if is_best:
            self.best_loss, self.best_step = loss, self.step
            self.validations_since_best = self.plateau_wait = 0
            return True
        self.validations_since_best += 1
        self.plateau_wait += 1
        if self.plateau_wait > settings.plateau_patience:
            self.plateau_scale *= settings.plateau_factor
            self.plateau_wait = 0
        return False

    def is_out_of_patience(self, settings: TrainingSettings) -> bool:
        """Whether early stopping is due."""
        patience = settings.patience
        return patience is not None and self.validations_since_best >= patience

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; an infinite best loss becomes None."""
        values = asdict(self)
        values["best_loss"] = self.best_loss if math.isfinite(self.best_loss) else None
        return values

    @classmethod
    def from_dict(cls, values: Any) -> Progress:
        """The inverse of `to_dict`; RunError where a value is missing or of another kind."""
        if not isinstance(values, dict):
            raise RunError("a checkpoint's progress should be an object")
        read: dict[str, Any] = {}
        for field in fields(cls):
            value = values.get(field.name)
            if field.name == "best_loss" and value is None:
                value = math.inf
            kinds = (int, float) if isinstance(field.default, float) else (int,)
            if not isinstance(value, kinds) or isinstance(value, bool) or value < 0:
                found = values.get(field.name)
                raise RunError(f"a checkpoint's {field.name} should be a number, found {found!r}")
            read[field.name] = value
        return cls(**read)
