"""How many steps fit into the rest of a budget: pure functions of measured times.

steps done + the largest n with
    n step_s + validations(n) validation_s + checkpoints(n) checkpoint_s
        <= budget - used - (last validation + last checkpoint + exit)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.training.schedules import Plan

MOST_VALIDATIONS, VALIDATION_SHARE = 20, 0.03
"""Of a run whose settings do not say when to validate, and the share of its time that they take."""
EPOCHS_BETWEEN_VALIDATIONS = 4
"""At most: a small text is soon learned by heart, and there are more validations then."""
SECONDS_BETWEEN_CHECKPOINTS = 600.0


@dataclass(frozen=True)
class Costs:
    """Seconds that things take."""

    step_s: float
    """A training step."""
    validation_s: float
    """A validation, with the best weights saved."""
    checkpoint_s: float
    """A checkpoint."""
    exit_s: float
    """From the last checkpoint to the end of the process."""


def fit_steps(
    left_s: float,
    costs: Costs,
    count_validations: Callable[[int], int],
    count_checkpoints: Callable[[int], int],
) -> int:
    """The number of further steps that comes nearest to filling `left_s` seconds.

    Args:
        count_validations: how many validations fall among the next n steps, the last one left out.
        count_checkpoints: the same for checkpoints.

    >>> costs = Costs(step_s=1.0, validation_s=2.0, checkpoint_s=5.0, exit_s=0.0)
    >>> fit_steps(30.0, costs, lambda n: n // 10, lambda n: n // 20)
    21
    """

    def count_seconds(n: int) -> float:
        validations_s = count_validations(n) * costs.validation_s
        return n * costs.step_s + validations_s + count_checkpoints(n) * costs.checkpoint_s

    low, high = 0, max(round(left_s / costs.step_s), 0)
    while low < high:
        middle = (low + high + 1) // 2
        if count_seconds(middle) <= left_s + costs.step_s / 2:
            low = middle
        else:
            high = middle - 1
    return low


def make_plan(
    training: TrainingSettings,
    before: Plan,
    costs: Costs,
    *,
    step: int,
    validated_step: int,
    used_s: float,
    steps_per_epoch: int | None = None,
    least_share: float = 0.0,
) -> Plan:
    """The plan for what is left of the budget `training.minutes`.

    Args:
        before: the plan in force. Its annealing is continued without a jump.
        step: steps done. validated_step: the step of the last validation.
        used_s: seconds of the budget that are used.
        steps_per_epoch: of the text; None where validations need not follow its epochs.
        least_share: of what is left of the budget; steps take at least so much.
    """
    assert training.minutes is not None
    budget_s = 60.0 * training.minutes
    epochs_s = costs.step_s * EPOCHS_BETWEEN_VALIDATIONS * (steps_per_epoch or math.inf)
    wanted_s = min(budget_s / MOST_VALIDATIONS, epochs_s)
    spacing_s = max(wanted_s, costs.validation_s / VALIDATION_SHARE)
    spacing = max(math.ceil(spacing_s / costs.step_s), 1)

    def count_intervals(n: int) -> int:
        return max((step + n - validated_step) // spacing, 1)

    def count_validations(n: int) -> int:
        if training.eval_every is not None:
            return _count_multiples(training.eval_every, step, n)
        return count_intervals(n) - 1

    def count_checkpoints(n: int) -> int:
        regular = _count_multiples(training.checkpoint_every, step, n)
        return max(regular, int(n * costs.step_s / SECONDS_BETWEEN_CHECKPOINTS))

    end_s = costs.validation_s + costs.checkpoint_s + costs.exit_s
    left_s = budget_s - used_s - end_s
    n = fit_steps(left_s, costs, count_validations, count_checkpoints)
    n = max(n, int(least_share * (budget_s - used_s) / costs.step_s))
    steps, eval_every = step + n, 0
    if training.eval_every is None and count_intervals(n) > 1:
        eval_every = math.ceil((steps - validated_step) / count_intervals(n))
    # A run whose first steps were timed as too fast must not end inside its warm-up.
    warmup_steps = min(before.warmup_steps, max(steps // 10, step))
    annealed = before.annealed if before.is_open else before.compute_annealed(step)
    return Plan(
        step=step,
        steps=steps,
        warmup_steps=warmup_steps,
        annealed=annealed,
        eval_every=eval_every,
        minutes=training.minutes,
        used_s=used_s,
    )


def scale_plan(before: Plan, step: int, minutes: float) -> Plan:
    """The plan in force after `step` steps, for another budget: as if it had always been that one.

    It is not measured: a measured one follows as soon as some steps have been timed.

    >>> old = Plan(step=5, steps=100, warmup_steps=0, minutes=10.0, used_s=30.0)
    >>> new = scale_plan(old, 100, 20.0)
    >>> new.steps, new.annealed
    (200, 0.5)
    """
    ratio = minutes / before.minutes
    return replace(
        before,
        step=step,
        steps=max(round(before.steps * ratio), step),
        annealed=min(before.compute_annealed(step) / ratio, 1.0),
        eval_every=round(before.eval_every * ratio),
        minutes=minutes,
        used_s=0.0,
    )


def describe_plan(plan: Plan, epochs: float, rate_tokens_per_s: float) -> str:
    """A plan in a line, with its length in epochs and the measured speed.

    >>> describe_plan(Plan(40, 3120, 0, minutes=10.0, used_s=9.2), 14.23, 21_300.0)
    'budget: 9 s of 10 min used; planned 3,120 steps (14.2 epochs) at 21,300 tokens/s'
    """
    return (
        f"budget: {describe_seconds(plan.used_s)} of {plan.minutes:g} min used; planned "
        f"{plan.steps:,} steps ({epochs:.3g} epochs) at {rate_tokens_per_s:,.0f} tokens/s"
    )


def describe_seconds(seconds: float) -> str:
    """A time in minutes and seconds.

    >>> describe_seconds(598.4)
    '9 min 58 s'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _count_multiples(every: int | None, step: int, n: int) -> int:
    """Multiples of `every` from `step` to the one before `step + n`, neither counted."""
    return max((step + n - 1) // every - step // every, 0) if every is not None else 0
