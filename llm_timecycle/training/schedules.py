"""Learning rates: the default peak, the plan of a run's steps, and the rate of each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from llm_timecycle.config.settings import TrainingSettings

OPEN_STEPS = 2**53
"""The steps of a plan without an end: with a budget, until the first plan is made."""


def choose_learning_rate(optimizer: str, hidden_units: int) -> float:
    """The peak learning rate where the settings have none.

        sgd:   1
        else:  min(3 / H, 0.016)

    The best rate falls with the width of the layers, since a step changes each weight by about the
    rate, and a gate adds up H such changes (Yang et al. 2022, "Tensor Programs V"). The constants
    were measured on characters and words; see docs/results.md.

    >>> choose_learning_rate("adam", 512)
    0.005859375
    """
    return 1.0 if optimizer == "sgd" else min(3.0 / hidden_units, 0.016)


@dataclass(frozen=True)
class Plan:
    """How long a run is to be, as decided after `step` steps.

    A run without a budget has one plan, made after 0 steps. With a budget, `training.budget` makes
    several, and each is stored: a resumed run follows the same plans at the same steps.
    """

    step: int
    """Steps that were done when the plan was made."""
    steps: int
    """Steps of the whole run."""
    warmup_steps: int
    """Steps over which the learning rate rises."""
    annealed: float = 0.0
    """The share x of the schedule that was over at `step`."""
    eval_every: int = 0
    """Steps from one validation to the next; 0 where the plan asks for none but the last."""
    minutes: float = 0.0
    """The budget that the plan was made for; 0 without one."""
    used_s: float = 0.0
    """Seconds of the budget that were used; 0 where the plan was made without measuring."""

    @property
    def is_open(self) -> bool:
        """Whether it has no end yet."""
        return self.steps == OPEN_STEPS

    def compute_annealed(self, step: int) -> float:
        """The share x of the schedule that is over after `step` steps.

            x = x0 + (1 - x0) (step - start) / (steps - start)

        x0 is `annealed`; the line starts at `step` or, if that is later, at the end of the warm-up.

        >>> Plan(step=0, steps=10, warmup_steps=2).compute_annealed(4)
        0.25
        >>> Plan(step=4, steps=8, warmup_steps=2, annealed=0.25).compute_annealed(6)
        0.625
        """
        start = max(self.step, self.warmup_steps)
        share = min(max(step - start, 0) / max(self.steps - start, 1), 1.0)
        return self.annealed + (1.0 - self.annealed) * share


def plan_epochs(training: TrainingSettings, steps_per_epoch: int) -> Plan:
    """The plan of a run without a budget: its epochs, or as many steps as it may take."""
    steps = training.epochs * steps_per_epoch
    return Plan(0, min(steps, training.max_steps or steps), training.warmup_steps)


def compute_rate(settings: TrainingSettings, step: int, plan: Plan, plateau_scale: float) -> float:
    """The learning rate of step `step` (counted from 0) under `plan`.

        warm-up:   rate (step + 1) / warmup_steps              while step < warmup_steps
        constant:  rate
        cosine:    rate (1 + cos(pi x)) / 2,  x = (step - warmup_steps) / (steps - warmup_steps)
        linear:    rate (1 - x)
        trapezoidal:  rate min(1, (1 - x) / decay_fraction)
        plateau:   rate plateau_scale

    `Plan.compute_annealed` has the x of a plan that was made later than the first step.

    Sources: cosine, Loshchilov and Hutter 2017, "SGDR", equation 5 with one period; trapezoidal,
    Zhai et al. 2022, "Scaling Vision Transformers", section 3.5, with a linear decay.

    >>> compute_rate(TrainingSettings(learning_rate=0.1), 1, Plan(0, 100, warmup_steps=4), 1.0)
    0.05
    """
    rate = settings.learning_rate
    assert rate is not None, "the settings are not filled in yet"
    if step < plan.warmup_steps:
        return rate * (step + 1) / plan.warmup_steps
    x = plan.compute_annealed(step)
    scales = {
        "constant": 1.0,
        "cosine": (1.0 + math.cos(math.pi * x)) / 2.0,
        "linear": 1.0 - x,
        "trapezoidal": min(1.0, (1.0 - x) / settings.decay_fraction),
        "plateau": plateau_scale,
    }
    return rate * scales[settings.schedule]


def write_plans(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """Plans as plain numbers for JSON."""
    return [asdict(plan) for plan in plans]


def read_plans(values: Any) -> tuple[Plan, ...]:
    """The inverse of `write_plans`.

    Raises:
        ValueError: they are not a list of plans, ordered by their steps, with values in range.
    """
    if not isinstance(values, list):
        raise ValueError(f"its plans should be a list, found {values!r}")
    plans: list[Plan] = []
    for number, found in enumerate(values, 1):
        plan = _read_plan(found)
        if plan is None or (plans and plan.step < plans[-1].step):
            raise ValueError(
                f"its plan {number} is damaged: expected steps in order and shares from 0 to 1, "
                f"found {found!r}"
            )
        plans.append(plan)
    return tuple(plans)


def _read_plan(values: Any) -> Plan | None:
    """A plan from JSON; None if a value is missing, of the wrong type, or out of range."""
    if not isinstance(values, dict) or values.keys() != {field.name for field in fields(Plan)}:
        return None
    for field in fields(Plan):
        kinds = (int, float) if isinstance(field.default, float) else (int,)
        value = values[field.name]
        if not isinstance(value, kinds) or isinstance(value, bool) or not 0 <= value < math.inf:
            return None
    plan = Plan(**values)
    is_in_range = 1 <= plan.step <= plan.steps and plan.annealed <= 1 and plan.minutes > 0
    return plan if is_in_range else None
