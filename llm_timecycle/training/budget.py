"""A budget of minutes: how many steps fit into it, planned from measured times.

The first plan is made once a few steps have been timed, further ones when a quarter, half and three
quarters of the budget are used; nothing else depends on a clock. The time of validations, of
checkpoints and of the end of the process is set aside.

    steps done + the largest n with
        n step_s + validations(n) validation_s + checkpoints(n) checkpoint_s
            <= budget - used - (last validation + last checkpoint + exit)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from llm_timecycle.clock import ActiveClock
from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.errors import RunError
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.manifest import RESTORE
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.schedules import OPEN_STEPS, Plan, read_plans, write_plans

MARKS = (0.25, 0.5, 0.75)
"""The used shares of a budget at which a new plan is made."""
MOST_VALIDATIONS, VALIDATION_SHARE = 20, 0.03
"""Of a run whose settings do not say when to validate, and the share of its time that they take."""
SECONDS_BETWEEN_CHECKPOINTS = 600.0
EXIT_S = 0.3
"""From the last checkpoint to the end of the process."""

UNTIMED_STEPS = 3  # tracing, cold caches
TIMED_STEPS, TIMED_S = 5, 2.0  # before the first plan
ODD_SPAN = 10.0  # a step so many times longer than the mean compiled something


@dataclass(frozen=True)
class Costs:
    """Seconds that things take."""

    step_s: float
    """A training step."""
    validation_s: float
    """A validation, with the best weights saved."""
    checkpoint_s: float
    """A checkpoint."""


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

    >>> costs = Costs(step_s=1.0, validation_s=2.0, checkpoint_s=5.0)
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
) -> Plan:
    """The plan for what is left of the budget `training.minutes`.

    Args:
        before: the plan in force. Its annealing is continued without a jump.
        step: steps done. validated_step: the step of the last validation.
        used_s: seconds of the budget that are used.
    """
    assert training.minutes is not None
    budget_s = 60.0 * training.minutes
    spacing_s = max(budget_s / MOST_VALIDATIONS, costs.validation_s / VALIDATION_SHARE)
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

    end_s = costs.validation_s + costs.checkpoint_s + EXIT_S
    left_s = budget_s - used_s - end_s
    n = fit_steps(left_s, costs, count_validations, count_checkpoints)
    steps, eval_every = step + n, 0
    if training.eval_every is None and count_intervals(n) > 1:
        eval_every = math.ceil((steps - validated_step) / count_intervals(n))
    warmup_steps, annealed = before.warmup_steps, before.compute_annealed(step)
    if before.is_open:
        warmup_steps, annealed = min(warmup_steps, max(steps // 10, 1)), before.annealed
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


def extrapolate(seconds: Mapping[int, float], size: int) -> float:
    """The seconds of `size`, on the line through the first and the last of the measured sizes.

    >>> extrapolate({10: 1.0, 20: 1.5}, 100)
    5.5
    """
    (few, few_s), (more, more_s) = min(seconds.items()), max(seconds.items())
    slope_s = max(more_s - few_s, 0.0) / (more - few) if more > few else 0.0
    return more_s + slope_s * (size - more)


def _count_multiples(every: int | None, step: int, n: int) -> int:
    """Multiples of `every` from `step` to the one before `step + n`, neither counted."""
    return max((step + n - 1) // every - step // every, 0) if every is not None else 0


class Budget:
    """The plans of a run with a budget, and the times that they are made from.

    Args:
        training: with `minutes`.
        clock: seconds of this session.
        used_before_s: seconds of the sessions before it.
        plans: made in them, ordered by step.
    """

    def __init__(
        self,
        training: TrainingSettings,
        clock: ActiveClock,
        used_before_s: float = 0.0,
        plans: Sequence[Plan] = (),
    ) -> None:
        assert training.minutes is not None
        self._training, self._clock, self._used_before_s = training, clock, used_before_s
        self._budget_s = 60.0 * training.minutes
        self.plans = tuple(plans)
        """All plans; those after the current step were made before the run was interrupted."""
        self._steps = self._timed = 0
        self._timed_s = self._step_s = 0.0
        self._first_step_s = math.inf
        self._is_odd = self._is_recent = False
        self._validation_steps: float | None = None
        self._checkpoint_s: float | None = None
        self._best_s: float | None = None

    @property
    def used_s(self) -> float:
        """Seconds of the budget that are used."""
        return self._used_before_s + self._clock.read_s()

    @property
    def step_s(self) -> float:
        """Seconds of a step, the mean over the latest ones; 0 before any is timed."""
        return self._timed_s / self._timed if self._timed else self._step_s

    @property
    def has_costs(self) -> bool:
        """Whether the time of a validation and of a checkpoint has been measured."""
        return self._validation_steps is not None and self._checkpoint_s is not None

    def change_minutes(self, step: int) -> bool:
        """Make a plan at `step` if the last one is for another budget; returns whether it was.

        Plans for later steps, made before the run was interrupted, are dropped.
        """
        if not self.plans or self.plans[-1].minutes == self._training.minutes:
            return False
        assert self._training.minutes is not None
        self.plans = tuple(plan for plan in self.plans if plan.step <= step)
        if self.plans:
            self.plans += (scale_plan(self.plans[-1], step, self._training.minutes),)
        return True

    def find_plan(self, step: int) -> Plan:
        """The plan in force after `step` steps; before the first one, a plan without an end."""
        for plan in reversed(self.plans):
            if plan.step <= step:
                return plan
        return Plan(0, OPEN_STEPS, self._training.warmup_steps)

    def note_step(self, span_s: float) -> None:
        """Add a step that took `span_s` seconds."""
        if self._steps == 0:
            self._first_step_s = self._clock.read_s() - span_s
        self._steps += 1
        spent_s = self._clock.read_s() - self._first_step_s
        is_slow = self._steps > 1 and spent_s > 0.05 * self._budget_s
        if self._steps <= UNTIMED_STEPS and not is_slow:
            return
        was_odd, mean_s = self._is_odd, self.step_s
        self._is_odd = self._timed >= TIMED_STEPS and span_s > ODD_SPAN * mean_s
        if self._is_odd and not was_odd:
            return
        if not self._is_recent and self.used_s >= self._find_recent_s():
            self._is_recent, self._step_s = True, mean_s
            self._timed, self._timed_s = 0, 0.0
        self._timed += 1
        self._timed_s += span_s

    def note_validation(self, validation_s: float) -> None:
        """Note the time of a validation; it is taken to grow with that of a step."""
        self._validation_steps = validation_s / self.step_s if self.step_s else None

    def note_best(self, best_s: float) -> None:
        """Note the time in which the best weights were saved."""
        self._best_s = best_s

    def note_checkpoint(self, checkpoint_s: float) -> None:
        """Note the time in which a checkpoint was written."""
        self._checkpoint_s = checkpoint_s

    def is_plan_due(self, step: int) -> bool:
        """Whether a new plan is to be made now."""
        spent_s = self._clock.read_s() - self._first_step_s
        is_timed = self._timed >= TIMED_STEPS and self._timed_s >= TIMED_S
        if not (is_timed or (self._timed >= 2 and spent_s >= 0.1 * self._budget_s)):
            return False
        if not self.plans:
            return True
        last = self.plans[-1]
        if not last.step <= step < last.steps:
            return False
        return last.used_s == 0 or self.used_s >= self._find_mark_s()

    def make_plan(self, step: int, validated_step: int) -> Plan:
        """Make the plan for what is left, and add it to `plans`."""
        assert self._validation_steps is not None
        assert self._checkpoint_s is not None
        best_s = self._checkpoint_s / 2 if self._best_s is None else self._best_s
        validation_s = self._validation_steps * self.step_s + best_s
        before = self.find_plan(step)
        if not self.plans:  # a run that was begun without a budget is somewhere in its schedule
            before = replace(before, annealed=min(self._used_before_s / self._budget_s, 1.0))
        plan = make_plan(
            self._training,
            before,
            Costs(self.step_s, validation_s, self._checkpoint_s),
            step=step,
            validated_step=validated_step,
            used_s=self.used_s,
        )
        self.plans += (plan,)
        self._is_recent = False
        return plan

    def _find_mark_s(self) -> float:
        """The used seconds at which the next plan is due."""
        used_s = self.plans[-1].used_s if self.plans else 0.0
        marks_s = (mark * self._budget_s for mark in MARKS)
        return next((mark_s for mark_s in marks_s if mark_s > used_s), math.inf)

    def _find_recent_s(self) -> float:
        """The used seconds from which steps are timed for the next plan: the latter half."""
        used_s = self.plans[-1].used_s if self.plans else math.inf
        return (used_s + self._find_mark_s()) / 2


def open_budget(run: Run, progress: Progress, clock: ActiveClock) -> Budget | None:
    """The budget of a run, with the plans that were made before; None if it has none.

    Where `training.minutes` has changed, there is a plan for the new budget.

    Args:
        run: the run, locked. progress: of the checkpoint that it resumes from.
        clock: of this session.

    Raises:
        RunError: the plans in the manifest are damaged, or not those of the checkpoint.
    """
    training = run.settings.training
    if training.minutes is None:
        return None
    where = f"the manifest of {run.path}"
    plans = read_plans(run.read_manifest().get("plans", []), where, RESTORE)
    if plans[: len(progress.plans)] != progress.plans:
        raise RunError(f"the plans in {where} are not those of its checkpoint. {RESTORE}")
    budget = Budget(training, clock, progress.active_s, plans)
    if budget.change_minutes(progress.step):
        run.record_plans(write_plans(budget.plans))
    return budget
