"""How far a run has come: what the loop needs to resume, apart from weights and LSTM state."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from shlex import quote
from typing import Any

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.errors import RunError
from llm_timecycle.training.schedules import Plan, read_plans, write_plans


@dataclass
class Progress:
    """How far a run has come; part of every checkpoint."""

    step: int = 0
    """Steps done."""
    tokens: int = 0
    """Tokens trained on."""
    wall_s: float = 0.0
    """Seconds spent training, over all its sessions."""
    validated_step: int = 0
    """The step after which validation last ran."""
    best_loss: float = math.inf
    """The lowest validation loss, in nats per token."""
    best_step: int = 0
    """The step of the lowest validation loss."""
    validations_since_best: int = 0
    """Validations since the best one."""
    plateau_scale: float = 1.0
    """The factor by which `schedule: plateau` has reduced the learning rate."""
    plateau_wait: int = 0
    """Validations without improvement since the learning rate last dropped."""
    learning_rate: float = 0.0
    """The learning rate of the last step."""
    gradient_norm: float = 0.0
    """The gradient norm of the last step, before clipping."""
    logged_step: int = 0
    """The step of the last row of metrics.csv."""
    logged_wall_s: float = 0.0
    """`wall_s` at that row."""
    loss_sum: float = 0.0
    """Total loss since that row, in nats."""
    loss_tokens: int = 0
    """Tokens since that row."""
    metrics_bytes: int = 0
    """Size of metrics.csv."""
    active_s: float = 0.0
    """Seconds that all sessions have worked, their start included: what a budget counts."""
    plans: tuple[Plan, ...] = ()
    """With a budget: the plans made so far."""

    def note_validation(self, loss: float, settings: TrainingSettings) -> bool:
        """Record a validation loss; returns whether it is the best so far."""
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

    def begin_row(self) -> None:
        """Note that a row of metrics.csv was written for the steps so far."""
        self.logged_step, self.logged_wall_s = self.step, self.wall_s
        self.loss_sum, self.loss_tokens = 0.0, 0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; an infinite best loss becomes None."""
        values = asdict(self)
        values["best_loss"] = self.best_loss if math.isfinite(self.best_loss) else None
        values["plans"] = write_plans(self.plans)
        return values

    @classmethod
    def from_dict(cls, values: Any) -> Progress:
        """The inverse of `to_dict`; RunError if a value is missing or of the wrong type."""
        if not isinstance(values, dict):
            raise RunError("a checkpoint's progress should be an object")
        # A checkpoint of an earlier version has neither plans nor the start of its sessions.
        values = {"active_s": values.get("wall_s"), "plans": [], **values}
        read: dict[str, Any] = {}
        for field in fields(cls):
            if field.name == "plans":
                continue
            value = values.get(field.name)
            if field.name == "best_loss" and value is None:
                value = math.inf
            kinds = (int, float) if isinstance(field.default, float) else (int,)
            if not isinstance(value, kinds) or isinstance(value, bool) or value < 0:
                found = values.get(field.name)
                raise RunError(f"a checkpoint's {field.name} should be a number, found {found!r}")
            read[field.name] = value
        advice = "Delete the checkpoint to resume from the one before it"
        return cls(**read, plans=read_plans(values["plans"], "a checkpoint", advice))


def describe_resuming(progress: Progress, plan: Plan, training: TrainingSettings, run: Path) -> str:
    """Where a run resumes; for a complete one, how to train it further."""
    if progress.step < plan.steps:
        end = "" if plan.is_open else f" of {plan.steps:,}"
        return f"resuming after step {progress.step:,}{end}"
    longer = double_length(training, plan.steps)
    return (
        f"this run is complete ({progress.step:,} steps); to train it further: "
        f"llm-timecycle train {quote(str(run))} --resume --set {longer}"
    )


def double_length(training: TrainingSettings, steps: int) -> str:
    """The setting, as KEY=VALUE, that makes a run of so many steps twice as long.

    >>> double_length(TrainingSettings(epochs=3), steps=90)
    'training.epochs=6'
    """
    if training.minutes is not None:
        return f"training.minutes={2 * training.minutes:g}"
    if steps == training.max_steps:
        return f"training.max_steps={2 * steps}"
    return f"training.epochs={2 * training.epochs}"


def explain_divergence(progress: Progress, loss_nats: float, run: Path) -> str:
    """The message of a run whose loss in the next step is no number, or its gradient norm."""
    return (
        f"training diverged at step {progress.step + 1}: loss {loss_nats:g}, gradient norm "
        f"{progress.gradient_norm:g}, learning rate {progress.learning_rate:g}. Everything "
        f"saved before is still in {run}. Lower training.learning_rate or set "
        f"training.gradient_clip_norm, and train in another directory"
    )
