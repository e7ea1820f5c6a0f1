"""Plans from given costs: literals worked by hand, and laws that hold for any costs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.training.budget.planning import (
    Costs,
    make_plan,
    scale_plan,
)
from llm_timecycle.training.schedules import OPEN_STEPS, Plan, compute_rate

NOTHING_YET = Plan(0, OPEN_STEPS, warmup_steps=0)


def plan_minute(costs: Costs, before: Plan = NOTHING_YET, **training: object) -> Plan:
    """The plan of one minute's budget after 10 steps in 8 seconds."""
    chosen = TrainingSettings.model_validate({"minutes": 1.0, **training})
    return make_plan(chosen, before, costs, step=10, validated_step=0, used_s=8.0)


def test_steps_fill_what_validation_checkpoint_and_exit_leave() -> None:
    # 60 - 8 - 1 - 0.75 - 0.25 = 50 s; a validation of 1 s may come every 1 / 0.03 s, 334 steps.
    plan = plan_minute(Costs(step_s=0.1, validation_s=1.0, checkpoint_s=0.75, exit_s=0.25))
    assert (plan.step, plan.steps, plan.eval_every) == (10, 10 + 500, 0)
    assert (plan.minutes, plan.used_s) == (1.0, 8.0)


def test_validations_are_equally_spaced_and_no_more_than_twenty() -> None:
    plan = plan_minute(Costs(step_s=0.1, validation_s=0.0, checkpoint_s=0.0, exit_s=0.0))
    # 3 s, 30 steps, apart at least; 530 steps are 17 such intervals.
    assert (plan.steps, plan.eval_every) == (530, 32)


def test_a_small_text_is_validated_every_four_epochs() -> None:
    def plan_hour(validation_s: float, steps_per_epoch: int) -> Plan:
        costs = Costs(step_s=0.1, validation_s=validation_s, checkpoint_s=0.0, exit_s=0.0)
        training = TrainingSettings(minutes=60.0)
        steps = {"step": 10, "validated_step": 0, "steps_per_epoch": steps_per_epoch}
        return make_plan(training, NOTHING_YET, costs, used_s=8.0, **steps)

    assert plan_hour(0.3, steps_per_epoch=50).eval_every == pytest.approx(200, abs=2)
    assert plan_hour(3.0, steps_per_epoch=50).eval_every == pytest.approx(1_000, abs=30)  # 3 %
    assert plan_hour(0.3, steps_per_epoch=5_000).eval_every == pytest.approx(1_800, abs=100)  # 1/20


def test_the_settings_own_validations_and_checkpoints_are_paid_for() -> None:
    costs = Costs(step_s=0.1, validation_s=1.0, checkpoint_s=0.5, exit_s=0.0)
    plan = plan_minute(costs, eval_every=50, checkpoint_every=100)
    # 60 - 8 - 1 - 0.5 = 50.5 s = 405 steps, 8 validations (50 to 400) and 4 checkpoints.
    assert (plan.steps, plan.eval_every) == (415, 0)


def test_a_budget_that_is_used_up_ends_the_run_here() -> None:
    plan = plan_minute(Costs(step_s=0.1, validation_s=60.0, checkpoint_s=0.0, exit_s=0.0))
    assert plan.steps == 10


def test_a_checkpoint_every_ten_minutes_is_paid_for() -> None:
    costs = Costs(step_s=1.0, validation_s=0.0, checkpoint_s=10.0, exit_s=0.0)
    training = TrainingSettings(minutes=60.0)
    plan = make_plan(training, NOTHING_YET, costs, step=10, validated_step=0, used_s=10.0)
    assert plan.steps == 10 + 3600 - 10 - 10 - 5 * 10


def test_steps_take_the_least_share_whatever_a_validation_is_said_to_take() -> None:
    costs = Costs(step_s=0.1, validation_s=600.0, checkpoint_s=0.0, exit_s=0.0)
    training, times = TrainingSettings(minutes=1.0), {"step": 10, "validated_step": 0}
    plan = make_plan(training, NOTHING_YET, costs, **times, used_s=20.0, least_share=0.5)
    assert plan.steps == 10 + 200


@given(
    warmup_steps=st.integers(0, 10**6),
    step_s=st.floats(1e-4, 10.0),
    schedule=st.sampled_from(["constant", "cosine", "linear", "trapezoidal"]),
)
@settings(max_examples=50)
def test_no_run_is_wholly_inside_its_warm_up(
    warmup_steps: int, step_s: float, schedule: str
) -> None:
    training = TrainingSettings.model_validate(
        {"minutes": 1.0, "warmup_steps": warmup_steps, "schedule": schedule, "learning_rate": 1.0}
    )
    costs = Costs(step_s=step_s, validation_s=0.0, checkpoint_s=0.0, exit_s=0.0)
    before = Plan(0, OPEN_STEPS, warmup_steps)
    plan = make_plan(training, before, costs, step=5, validated_step=0, used_s=5.0)
    assert plan.warmup_steps <= max(plan.steps // 10, 5)
    assert compute_rate(training, max(plan.warmup_steps, 5), plan, 1.0) == 1.0


@given(
    parts=st.lists(st.tuples(st.integers(0, 500), st.floats(1e-3, 1.0)), min_size=1, max_size=4),
    warmup_steps=st.integers(0, 200),
)
@settings(max_examples=100)
def test_annealing_has_no_jump_rises_and_ends_at_one(
    parts: list[tuple[int, float]], warmup_steps: int
) -> None:
    training = TrainingSettings(minutes=1.0)
    plan, step = Plan(0, OPEN_STEPS, warmup_steps), 1
    before = 0.0
    for further, step_s in parts:
        costs = Costs(step_s=step_s, validation_s=0.0, checkpoint_s=0.0, exit_s=0.0)
        new = make_plan(training, plan, costs, step=step, validated_step=0, used_s=10.0)
        if not plan.is_open:
            assert new.annealed == plan.compute_annealed(step)
        plan = new
        assert plan.compute_annealed(step) == plan.annealed
        for each in range(step, min(step + further, plan.steps) + 1):
            assert before <= plan.compute_annealed(each) <= 1.0
            before = plan.compute_annealed(each)
            step = each
    if plan.steps > plan.step:
        assert plan.compute_annealed(plan.steps) == pytest.approx(1.0)


def test_a_longer_budget_scales_the_plan() -> None:
    old = Plan(100, 400, 10, annealed=0.25, eval_every=30, minutes=10.0, used_s=150.0)
    new = scale_plan(old, 250, 20.0)
    assert new == Plan(250, 800, 10, annealed=0.3125, eval_every=60, minutes=20.0, used_s=0.0)


def test_a_budget_shorter_than_what_is_used_ends_the_run() -> None:
    old = Plan(100, 400, 10, annealed=0.25, minutes=10.0, used_s=150.0)
    new = scale_plan(old, 250, 1.0)
    assert (new.steps, new.annealed) == (250, 1.0)
