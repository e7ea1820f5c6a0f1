"""How far a run has come: what the loop needs to resume, apart from weights and LSTM state."""

from __future__ import annotations

import math
from dataclasses import Field, asdict, dataclass, fields
from pathlib import Path
from shlex import quote
from typing import Any

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.training.schedules import Plan, read_plans, write_plans

MANY_EPOCHS, DEFAULT_PATIENCE = 40, 10
"""Early stopping where the settings have none: in a run with a budget that would read its text more
often, after these validations without improvement."""
TOKENS_BETWEEN_SAMPLES = 100_000
"""Trained on, at least: a sample costs as much as some 4,000 of them (2 x 512: 0.2 s of one core),
and an epoch of a small text has not many more."""


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
    recent_losses: tuple[float, ...] = ()
    """With `averaging: triggered`, the latest validation losses, `averaging_patience` of them."""
    earlier_best_loss: float = math.inf
    """The lowest of those before them."""
    averaged_steps: int = 0
    """The steps whose weights are averaged; 0 until averaging begins."""
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
    samples_bytes: int = 0
    """Size of samples.txt."""
    sampled_tokens: int = 0
    """`tokens` at its last sample."""
    active_s: float = 0.0
    """Seconds that all sessions have worked, their start included: what a budget counts."""
    plans: tuple[Plan, ...] = ()
    """With a budget: the plans made so far."""

    @property
    def reached(self) -> tuple[int, int]:
        """The step, and that of the last validation: what a checkpoint may be behind in."""
        return self.step, self.validated_step

    def note_validation(self, loss: float, settings: TrainingSettings) -> bool:
        """Record a validation loss; returns whether it is the best so far."""
        is_best = loss < self.best_loss
        if is_best:
            self.best_loss, self.best_step = loss, self.step
            self.validations_since_best = self.plateau_wait = 0
        else:
            self.validations_since_best += 1
            self.plateau_wait += 1
            if self.plateau_wait > settings.plateau_patience:
                self.plateau_scale *= settings.plateau_factor
                self.plateau_wait = 0
        return is_best

    def triggers_averaging(self, loss: float, settings: TrainingSettings) -> bool:
        """Record a validation loss for the trigger; returns whether averaging is to begin now.

        It is when the loss is worse than the lowest one from more than `averaging_patience`
        validations before; `reference.averaging.is_triggered` has the formula and its source. The
        patience of early stopping then begins anew: the mean of the weights needs time to show what
        it is worth.
        """
        if settings.averaging == "none" or self.averaged_steps > 0:
            return False
        loss = math.inf if math.isnan(loss) else loss
        if loss > self.earlier_best_loss:
            self.validations_since_best = 0
            return True
        recent = (*self.recent_losses, loss)
        surplus = len(recent) - settings.averaging_patience
        if surplus > 0:
            self.earlier_best_loss = min(self.earlier_best_loss, *recent[:surplus])
        self.recent_losses = recent[max(surplus, 0) :]
        return False

    def is_sample_due(self, *, is_last: bool) -> bool:
        """Whether a validation now comes with a sample: the first, the last, and some between."""
        is_first = self.sampled_tokens == 0
        since = self.tokens - self.sampled_tokens
        return is_first or is_last or since >= TOKENS_BETWEEN_SAMPLES

    def find_patience(self, settings: TrainingSettings, epochs: float) -> int | None:
        """Validations without improvement that end the run; None for a run that they do not end.

        Args:
            epochs: of the whole run, as planned; 0 while there is no plan.
        """
        if settings.patience is None and settings.minutes is not None and epochs > MANY_EPOCHS:
            return DEFAULT_PATIENCE
        return settings.patience

    def is_out_of_patience(self, settings: TrainingSettings, epochs: float = 0.0) -> bool:
        """Whether early stopping is due; `epochs` as in `find_patience`."""
        patience = self.find_patience(settings, epochs)
        return patience is not None and self.validations_since_best >= patience

    def begin_row(self) -> None:
        """Note that a row of metrics.csv was written for the steps so far."""
        self.logged_step, self.logged_wall_s = self.step, self.wall_s
        self.loss_sum, self.loss_tokens = 0.0, 0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; an infinite loss becomes None."""
        values = asdict(self)
        for name in _MAYBE_INFINITE:
            values[name] = values[name] if math.isfinite(values[name]) else None
        values["recent_losses"] = list(self.recent_losses)
        values["plans"] = write_plans(self.plans)
        return values

    @classmethod
    def from_dict(cls, values: Any) -> Progress:
        """The inverse of `to_dict`; ValueError, which names the first value that cannot be."""
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or values.keys() != names:
            raise ValueError(f"its progress should be an object with {', '.join(sorted(names))}")
        losses = values["recent_losses"]
        if not isinstance(losses, list) or not all(
            _is_number(loss, (int, float)) for loss in losses
        ):
            raise ValueError(f"its recent_losses should be numbers, found {losses!r}")
        read: dict[str, Any] = {"recent_losses": tuple(losses)}
        for field in fields(cls):
            if field.name in ("plans", "recent_losses"):
                continue
            value = values[field.name]
            if field.name in _MAYBE_INFINITE and value is None:
                value = math.inf
            elif not _is_number(value, _list_kinds(field)):
                raise ValueError(f"its {field.name} should be a number, found {value!r}")
            read[field.name] = value
        progress = cls(**read, plans=read_plans(values["plans"]))
        progress._check_order()
        return progress

    def _check_order(self) -> None:
        """Raise ValueError unless the counts can be those of one run."""
        last = self.plans[-1].step if self.plans else 0
        steps = (self.validated_step, self.logged_step, self.averaged_steps, last)
        if max(steps) > self.step or self.best_step > self.validated_step:
            raise ValueError(f"it is of step {self.step:,}, and counts later ones")
        if max(self.loss_tokens, self.sampled_tokens) > self.tokens:
            raise ValueError(f"it is of {self.tokens:,} tokens, and counts more")
        if self.plateau_scale > 1:
            raise ValueError(f"its plateau_scale is {self.plateau_scale:g}, expected 1 at most")


_MAYBE_INFINITE = ("best_loss", "earlier_best_loss")


def _is_number(value: Any, kinds: tuple[type[int] | type[float], ...]) -> bool:
    """Whether a value from JSON is a number of these kinds, from 0 to 2^53."""
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value <= 2**53


def _list_kinds(field: Field[Any]) -> tuple[type[int] | type[float], ...]:
    return (int, float) if isinstance(field.default, float) else (int,)


def describe_resuming(progress: Progress, plan: Plan, training: TrainingSettings, run: Path) -> str:
    """Where a run resumes; for a complete one, how to train it further."""
    if progress.step < plan.steps:
        end = "" if plan.is_open else f" of {plan.steps:,}"
        return f"resuming after step {progress.step:,}{end}"
    longer = " ".join(f"--set {change}" for change in double_length(training, plan.steps))
    return (
        f"this run is complete ({progress.step:,} steps); to train it further: "
        f"llm-timecycle train {quote(str(run))} --resume {longer}"
    )


def double_length(training: TrainingSettings, steps: int) -> tuple[str, ...]:
    """The settings, each as KEY=VALUE, that make a run of so many steps twice as long.

    >>> double_length(TrainingSettings(epochs=3), steps=90)
    ('training.epochs=6',)
    >>> double_length(TrainingSettings(epochs=3, max_steps=100), steps=90)  # both end it
    ('training.max_steps=180', 'training.epochs=6')
    """
    if training.minutes is not None:
        return (f"training.minutes={2 * training.minutes:g}",)
    epochs = f"training.epochs={2 * training.epochs}"
    if training.max_steps is None or training.max_steps >= 2 * steps:
        return (epochs,)
    return f"training.max_steps={2 * steps}", epochs


def explain_stop(progress: Progress, run: Path) -> str:
    """The message of a run that a signal has stopped."""
    return (
        f"Stopped after step {progress.step}; everything is saved. "
        f"Resume with: llm-timecycle train {quote(str(run))} --resume"
    )


def explain_divergence(progress: Progress, loss_nats: float, run: Path) -> str:
    """The message of a run whose loss in the next step is no number, or its gradient norm."""
    return (
        f"training diverged at step {progress.step + 1}: loss {loss_nats:g}, gradient norm "
        f"{progress.gradient_norm:g}, learning rate {progress.learning_rate:g}. Everything "
        f"saved before is still in {run}. Lower training.learning_rate or set "
        f"training.gradient_clip_norm, and train in another directory"
    )


def explain_early_stop(progress: Progress, training: TrainingSettings, run: Path) -> str:
    """Why a run ends before its last step, and what to do, in a line.

    >>> progress = Progress(step=90, best_step=60, validations_since_best=3, active_s=300.0)
    >>> print(explain_early_stop(progress, TrainingSettings(minutes=9.0), Path("runs/my")))
    ... # doctest: +NORMALIZE_WHITESPACE
    stopped early after step 90: 3 validations without improvement since step 60, whose weights
    are kept. The text is learned in 4 min: a new run with training.minutes=4 ends with a low
    learning rate, which this one did not reach
    """
    count = progress.validations_since_best
    said = (
        f"stopped early after step {progress.step:,}: {count} validation{'s' * (count > 1)} "
        f"without improvement since step {progress.best_step:,}, whose weights are kept"
    )
    learned_s = progress.active_s * progress.best_step / max(progress.step, 1)
    minutes = max(math.ceil(learned_s / 60), 1)
    if training.minutes is not None and minutes < training.minutes:
        return (
            f"{said}. The text is learned in {minutes} min: a new run with training.minutes="
            f"{minutes} ends with a low learning rate, which this one did not reach"
        )
    command = f"llm-timecycle train {quote(str(run))} --resume"
    return f"{said}. To train on: {command} --set training.patience={2 * count}"
