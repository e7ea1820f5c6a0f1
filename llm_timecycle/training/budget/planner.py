"""The planner of a run: which plan is in force, and with a budget, when the next one is made.

The first plan is made once a few steps have been timed, further ones when a quarter, half and three
quarters of the budget are used. Nothing else depends on a clock, and all plans are stored, so that
a resumed run follows them without measuring again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from llm_timecycle.clock import ActiveClock
from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.errors import RunError
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.manifest import RESTORE
from llm_timecycle.text.batches import Lanes
from llm_timecycle.training.budget.planning import Costs, describe_plan, make_plan, scale_plan
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.schedules import (
    OPEN_STEPS,
    Plan,
    plan_epochs,
    read_plans,
    write_plans,
)
from llm_timecycle.training.workers.workers import Workers, share_plans

log = logging.getLogger("llm_timecycle")

MARKS = (0.25, 0.5, 0.75)
"""The used shares of a budget at which a new plan is made."""
LEAST_GAP = 0.05
"""Of the budget, from a plan to the mark of the next; a nearer mark is left out."""
EARLY_SHARE = 0.7
"""Of the steps that a plan leaves: done before the next mark, they bring the next plan forward, or
a machine that has become much faster would end its schedule with time left."""
DOUBTFUL_SHARE = 0.1
"""Of what is left: a validation that is estimated to take more is estimated again."""
LEAST_SHARE = 0.5
"""Of what is left at the first plan: steps take at least so much, whatever was estimated."""
EXIT_SHARE, LONGEST_EXIT_S = 0.05, 1.0
"""Of the time from the start of a session to its first step: what the end of its process takes."""
COPIES_SHARE, LONGEST_COPIES_S = 0.01, 1.5
"""Of the budget: what looking for copies of the training text takes at the end."""

UNTIMED_STEPS = 3  # tracing, cold caches
TIMED_STEPS, TIMED_S = 5, 2.0  # before the first plan
ODD_SPAN = 10.0  # a step so many times longer than the mean compiled something


class Planner:
    """The plans of a run; with `training.minutes`, also the times that they are made from.

    Args:
        start: the plan in force until another one is made.
        clock: seconds of this session.
        used_before_s: seconds of the sessions before it.
        plans: made in them, ordered by step.
        steps_per_epoch: of the text; None where it has no epochs.
    """

    def __init__(
        self,
        training: TrainingSettings,
        start: Plan,
        clock: ActiveClock,
        used_before_s: float = 0.0,
        plans: Sequence[Plan] = (),
        steps_per_epoch: int | None = None,
    ) -> None:
        self._training, self._start, self._clock = training, start, clock
        self._steps_per_epoch = steps_per_epoch
        self._used_before_s = used_before_s
        self._budget_s = math.inf if training.minutes is None else 60.0 * training.minutes
        self.plans = tuple(plans)
        """All plans; those after the current step were made before the run was interrupted."""
        self.has_changed = False
        """Whether the plans are not those that are stored."""
        self._steps = self._timed = 0
        self._timed_s = self._step_s = 0.0
        self._first_step_at_s = math.inf
        self._is_odd = self._is_recent = False
        self._validation_steps: float | None = None
        self._is_validation_estimated = True

    @property
    def used_s(self) -> float:
        """Seconds of the budget that are used."""
        return self._used_before_s + self._clock.read_s()

    @property
    def step_s(self) -> float:
        """Seconds of a step, the mean over the latest ones; 0 before two are timed."""
        return self._timed_s / self._timed if self._timed > 1 else self._step_s

    @property
    def needs_validation_s(self) -> bool:
        """Whether the time of a validation is to be estimated before the next plan.

        So is one that was only estimated, and takes much of what is left: it may have been
        estimated while the machine was busy with other work.
        """
        if self._validation_steps is None:
            return True
        left_s = self._budget_s - self.used_s
        is_much = self._validation_steps * self.step_s > DOUBTFUL_SHARE * left_s
        return self._is_validation_estimated and is_much

    @property
    def needs_checkpoint_s(self) -> bool:
        """Whether the time of a checkpoint is not known yet."""
        return self._clock.find_last_s("checkpoint") is None

    def change_minutes(self, step: int) -> None:
        """Make a plan at `step` if the last one is for another budget.

        Plans for later steps, made before the run was interrupted, are dropped.
        """
        if not self.plans or self.plans[-1].minutes == self._training.minutes:
            return
        assert self._training.minutes is not None
        self.has_changed = True
        self.plans = tuple(plan for plan in self.plans if plan.step <= step)
        if self.plans:
            self.plans += (scale_plan(self.plans[-1], step, self._training.minutes),)

    def find_plan(self, step: int) -> Plan:
        """The plan in force after `step` steps."""
        for plan in reversed(self.plans):
            if plan.step <= step:
                return plan
        return self._start

    def note_step(self, span_s: float, *, is_compiled: bool = True) -> None:
        """Add a step that took `span_s` seconds.

        Args:
            is_compiled: whether there was a step of its width before, in this session.
        """
        if self._steps == 0:
            self._first_step_at_s = self._clock.read_s() - span_s
        self._steps += 1
        spent_s = self._clock.read_s() - self._first_step_at_s
        is_slow = self._steps > 1 and spent_s > 0.05 * self._budget_s
        if (self._steps <= UNTIMED_STEPS or not is_compiled) and not is_slow:
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

    def note_validation(self, validation_s: float, *, is_estimated: bool = False) -> None:
        """Note the time of a validation; it is taken to grow with that of a step."""
        self._is_validation_estimated = is_estimated
        self._validation_steps = validation_s / self.step_s if self.step_s else None

    def is_plan_due(self, step: int) -> bool:
        """Whether a new plan is to be made now; never without a budget."""
        if self._training.minutes is None:
            return False
        spent_s = self._clock.read_s() - self._first_step_at_s
        is_timed = self._timed >= TIMED_STEPS and self._timed_s >= TIMED_S
        if not (is_timed or (self._timed >= 2 and spent_s >= 0.1 * self._budget_s)):
            return False
        if not self.plans:
            return True
        last = self.plans[-1]
        if not last.step <= step < last.steps:
            return False
        mark_s = self._find_mark_s()
        is_early = step - last.step >= EARLY_SHARE * (last.steps - last.step)
        return last.used_s == 0 or self.used_s >= mark_s or (is_early and mark_s < math.inf)

    def make_plan(self, step: int, validated_step: int) -> Plan:
        """Make the plan for what is left, and add it to `plans`."""
        checkpoint_s, best_s = map(self._clock.find_last_s, ("checkpoint", "best"))
        assert self._validation_steps is not None
        assert checkpoint_s is not None
        best_s = checkpoint_s / 2 if best_s is None else best_s
        costs = Costs(
            step_s=self.step_s,
            validation_s=self._validation_steps * self.step_s + best_s,
            checkpoint_s=checkpoint_s,
            exit_s=min(EXIT_SHARE * self._first_step_at_s, LONGEST_EXIT_S)
            + min(COPIES_SHARE * self._budget_s, LONGEST_COPIES_S),
        )
        before = self.find_plan(step)
        if not self.plans:  # a run that was begun without a budget is somewhere in its schedule
            before = replace(before, annealed=min(self._used_before_s / self._budget_s, 1.0))
        plan = make_plan(
            self._training,
            before,
            costs,
            step=step,
            validated_step=validated_step,
            used_s=self.used_s,
            steps_per_epoch=self._steps_per_epoch,
            least_share=0.0 if self.plans else LEAST_SHARE,
        )
        self.plans += (plan,)
        self._is_recent = False
        return plan

    def _find_mark_s(self) -> float:
        """The used seconds at which the next plan is due."""
        earliest_s = self.plans[-1].used_s + LEAST_GAP * self._budget_s
        marks_s = (mark * self._budget_s for mark in MARKS)
        return next((mark_s for mark_s in marks_s if mark_s >= earliest_s), math.inf)

    def _find_recent_s(self) -> float:
        """The used seconds from which steps are timed for the next plan: the latter half."""
        return (self.plans[-1].used_s + self._find_mark_s()) / 2 if self.plans else math.inf


def open_planner(run: Run, progress: Progress, steps_per_epoch: int, clock: ActiveClock) -> Planner:
    """The planner of a run, with the plans that were made before.

    Where `training.minutes` has changed, there is a plan for the new budget, not yet stored.

    Args:
        run: the run, locked. progress: of the checkpoint that it resumes from.
        clock: of this session.

    Raises:
        RunError: the plans in the manifest are damaged, or not those of the checkpoint.
    """
    training = run.settings.training
    if training.minutes is None:
        return Planner(training, plan_epochs(training, steps_per_epoch), clock)
    where = f"the manifest of {run.path}"
    try:
        plans = read_plans(run.read_manifest().get("plans", []))
    except ValueError as error:
        raise RunError(f"{where} is damaged: {error}. {RESTORE}") from None
    if plans[: len(progress.plans)] != progress.plans:
        raise RunError(f"the plans in {where} are not those of its checkpoint. {RESTORE}")
    start = Plan(0, OPEN_STEPS, training.warmup_steps)
    planner = Planner(training, start, clock, progress.active_s, plans, steps_per_epoch)
    planner.change_minutes(progress.step)
    return planner


def renew_plan(
    planner: Planner,
    workers: Workers,
    run: Run,
    progress: Progress,
    lanes: Lanes,
    estimate_validation_s: Callable[[], float],
    save: Callable[[], None],
) -> None:
    """Make a plan for the rest of the budget, and store it before the next step.

    It is made by the chief's clock, and is the plan of all workers.

    Args:
        estimate_validation_s: measures how long a validation takes. save: writes a checkpoint.
    """
    if workers.choose(planner.needs_validation_s):
        planner.note_validation(estimate_validation_s(), is_estimated=True)
    if workers.choose(planner.needs_checkpoint_s):
        save()
    if workers.is_chief:
        plan = planner.make_plan(progress.step, progress.validated_step)
        run.record_plans(write_plans(planner.plans))
        epochs = plan.steps / lanes.steps_per_epoch
        tokens_per_step = lanes.lanes * lanes.lane_length / lanes.steps_per_epoch
        log.info(describe_plan(plan, epochs, tokens_per_step / planner.step_s))
    planner.plans = share_plans(workers, planner.plans)
