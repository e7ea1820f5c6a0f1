"""How long a training still takes: with a budget, what is left of it; else from measured times."""

from __future__ import annotations

import math
from collections import deque

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.training.schedules import Plan

TIMED_STEPS = 200
"""The latest steps, whose mean time is counted on."""
UNTIMED_STEPS = 3
"""The first steps of a session, whose caches are cold."""
FORWARD_SHARE = 1 / 3
"""Of a training step's time, by operations: what a validation of as many tokens takes, until one
has been timed."""


class TimeLeft:
    """Times what a training does, and extrapolates.

        left = steps x step_s + validations x validation_s + checkpoints x checkpoint_s

    With a budget, which plans its steps by such times itself, it is the rest of the budget.

    Args:
        training: the settings.
        steps_per_epoch: of the text.
        validation_steps: the size of the validation text, in windows of a training step.
    """

    def __init__(
        self, training: TrainingSettings, steps_per_epoch: int, validation_steps: float
    ) -> None:
        self._training, self._steps_per_epoch = training, steps_per_epoch
        self._validation_steps = validation_steps
        self._steps = 0
        self._spans_s: deque[float] = deque(maxlen=TIMED_STEPS)
        self._total_s = 0.0
        self._validation_s: float | None = None
        self._checkpoint_s = 0.0

    def note_step(self, span_s: float, *, is_compiled: bool = True) -> None:
        """Add a step; one of a width that was not compiled before is not typical."""
        self._steps += 1
        if self._steps <= UNTIMED_STEPS or not is_compiled:
            return
        if len(self._spans_s) == TIMED_STEPS:
            self._total_s -= self._spans_s[0]
        self._spans_s.append(span_s)
        self._total_s += span_s

    def note_validation(self, span_s: float) -> None:
        """Note the time of a validation, with all that belongs to it."""
        self._validation_s = span_s

    def note_checkpoint(self, span_s: float | None) -> None:
        """Note the time of a checkpoint."""
        self._checkpoint_s = span_s or 0.0

    def estimate_s(self, step: int, plan: Plan, used_s: float) -> float | None:
        """Seconds from now to the end of the run; None while too little is known.

        Args:
            step: steps done. plan: the one in force.
            used_s: seconds of the budget that are used.
        """
        if self._training.minutes is not None:
            return max(60.0 * self._training.minutes - used_s, 0.0)
        if not self._spans_s:
            return None
        step_s = self._total_s / len(self._spans_s)
        validation_s = self._validation_s
        if validation_s is None:
            validation_s = FORWARD_SHARE * self._validation_steps * step_s
        training, per_epoch = self._training, self._steps_per_epoch
        validations = count_due(step, plan.steps, per_epoch, training.eval_every)
        checkpoints = count_due(step, plan.steps, per_epoch, training.checkpoint_every)
        steps_s = (plan.steps - step) * step_s
        return steps_s + validations * validation_s + checkpoints * self._checkpoint_s


def count_due(step: int, steps: int, *every: int | None) -> int:
    """How often something is due after `step`, up to the last of `steps` steps.

    It is due after each multiple of the (at most two) numbers in `every`, and after the last step.

    >>> count_due(0, 20, 8, 5)  # 5, 8, 10, 15, 16, 20
    6
    >>> count_due(16, 20, 8, None)
    1
    """
    if step >= steps:
        return 0
    numbers = [number for number in every if number is not None]

    def count(number: int) -> int:
        return (steps - 1) // number - step // number

    both = count(math.lcm(*numbers)) if len(numbers) == 2 else 0
    return sum(map(count, numbers)) - both + 1


def write_time(seconds: float) -> str:
    """A time to read at a glance.

    >>> write_time(42), write_time(192), write_time(7500)
    ('0:42', '3:12', '2:05:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
