"""The planner on simulated machines: fast and slow ones, noisy ones, and one that gets busy."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.clock import ActiveClock
from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.training.budget.planner import MARKS, Planner
from llm_timecycle.training.schedules import OPEN_STEPS, Plan


@dataclass(frozen=True)
class Machine:
    """Seconds that things take, each by up to 5 % more or less."""

    start_s: float
    step_s: float
    validation_s: float
    checkpoint_s: float
    seed: int = 0
    slow_from_s: float = float("inf")
    slow_until_s: float = float("inf")
    """Between the two, everything takes `slowness` times as long."""
    slowness: float = 2.0


machines_of_a_minute = st.builds(
    Machine,
    start_s=st.floats(3.0, 9.0),
    step_s=st.floats(0.03, 0.6),
    validation_s=st.floats(0.0, 3.0),
    checkpoint_s=st.floats(0.0, 0.5),
    seed=st.integers(0, 2**20),
)


class Simulation:
    """A run on a machine, by the rules of the training loop, without its model."""

    def __init__(self, machine: Machine, minutes: float) -> None:
        self.machine, self.now_s = machine, 1000.0
        self.draw = random.Random(machine.seed)
        self.clock = ActiveClock(1000.0, lambda: self.now_s)
        start = Plan(0, OPEN_STEPS, 0)
        self.planner = Planner(TrainingSettings(minutes=minutes), start, self.clock)
        self.validations = self.validation_s = 0.0

    def spend(self, seconds: float) -> None:
        machine = self.machine
        is_slow = machine.slow_from_s <= self.now_s - 1000.0 < machine.slow_until_s
        slowness = machine.slowness if is_slow else 1.0
        self.now_s += seconds * self.draw.uniform(0.95, 1.05) * slowness

    def estimate_validation_s(self) -> float:
        return self.machine.validation_s

    def spend_validation(self) -> float:
        began_s = self.now_s
        self.spend(self.machine.validation_s)
        self.clock.tick("window")
        return self.now_s - began_s

    def save(self) -> None:
        self.spend(self.machine.checkpoint_s)
        self.clock.tick("checkpoint")

    def run(self) -> float:
        """Train to the end of the budget; returns the seconds from start to exit."""
        planner, step, validated_step = self.planner, 0, 0
        self.spend(self.machine.start_s)
        self.clock.tick("start")
        while True:
            if planner.is_plan_due(step):
                if planner.needs_validation_s:
                    planner.note_validation(self.estimate_validation_s(), is_estimated=True)
                if planner.needs_checkpoint_s:
                    self.save()
                planner.make_plan(step, validated_step)
            plan = planner.find_plan(step)
            is_due = plan.eval_every and step - validated_step >= plan.eval_every
            if step >= plan.steps or is_due:
                planner.note_validation(seconds := self.spend_validation())
                self.validation_s += seconds
                self.validations += 1
                validated_step = step
                self.spend(self.machine.checkpoint_s / 2)
                self.clock.tick("best")
            if step >= plan.steps:
                self.save()
                self.spend(0.05 * self.machine.start_s)
                return self.now_s - 1000.0
            self.spend(self.machine.step_s)
            planner.note_step(self.clock.tick("step"))
            step += 1


@given(machine=machines_of_a_minute)
@settings(max_examples=40)
def test_a_minute_ends_within_three_percent(machine: Machine) -> None:
    simulation = Simulation(machine, 1.0)
    assert simulation.run() == pytest.approx(60.0, rel=0.03)
    assert len(simulation.planner.plans) <= 1 + len(MARKS)
    assert simulation.validations <= 21


@pytest.mark.parametrize("minutes", [10, 120])
@pytest.mark.parametrize("steps", [300, 5000])
def test_a_longer_budget_ends_within_one_percent(minutes: float, steps: int) -> None:
    machine = Machine(6.0, 60 * minutes / steps, 0.02 * minutes, 0.5, seed=steps)
    simulation = Simulation(machine, minutes)
    assert simulation.run() == pytest.approx(60 * minutes, rel=0.01)
    assert simulation.validation_s <= 0.06 * 60 * minutes
    used = [plan.used_s / (60 * minutes) for plan in simulation.planner.plans[1:]]
    assert used == pytest.approx(MARKS, abs=0.02)


@given(machine=machines_of_a_minute, share=st.floats(0.2, 0.6), minutes=st.sampled_from([1, 3]))
@settings(max_examples=40)
def test_a_machine_that_gets_busy_ends_within_five_percent(
    machine: Machine, share: float, minutes: int
) -> None:
    busy = replace(machine, validation_s=machine.validation_s / 2, slow_from_s=60 * minutes * share)
    assert Simulation(busy, minutes).run() == pytest.approx(60 * minutes, rel=0.05)


@given(machine=machines_of_a_minute, share=st.floats(0.1, 0.5), slowness=st.floats(1.0, 6.0))
@settings(max_examples=20)
def test_a_machine_that_is_busy_at_first_ends_within_five_percent(
    machine: Machine, share: float, slowness: float
) -> None:
    fast = replace(machine, step_s=machine.step_s / 4, validation_s=machine.validation_s / 6)
    busy = replace(fast, slow_from_s=0.0, slow_until_s=120 * share, slowness=slowness)
    assert Simulation(busy, 2.0).run() == pytest.approx(120.0, rel=0.05)


@given(machine=machines_of_a_minute, times=st.floats(1.0, 400.0))
@settings(max_examples=20)
def test_a_validation_estimated_while_the_machine_was_busy_ends_no_training_early(
    machine: Machine, times: float
) -> None:
    simulation, factors = Simulation(machine, 1.0), iter([times])
    simulation.estimate_validation_s = lambda: machine.validation_s * next(factors, 1.0)  # type: ignore[method-assign]
    assert simulation.run() == pytest.approx(60.0, rel=0.05)


def test_the_first_plan_comes_within_seconds_of_the_first_step() -> None:
    fast, slow = (
        Simulation(Machine(5.0, 0.01, 0.1, 0.1), 2.0),
        Simulation(Machine(5.0, 4.0, 0.1, 0.1), 2.0),
    )
    fast.run(), slow.run()
    assert fast.planner.plans[0].used_s == pytest.approx(5.0 + 2.0 + 0.1, rel=0.05)
    # A tenth of two minutes is three steps of 4 s; two of them must be timed.
    assert slow.planner.plans[0].step == 4


def test_a_step_that_compiles_is_not_taken_for_the_speed() -> None:
    """One step in ten seconds among those of 0.1 s, just before the last plan."""
    simulation = Simulation(Machine(5.0, 0.1, 0.1, 0.1), 2.0)
    spend, seconds = simulation.spend, iter([85.0])

    def stall(wanted_s: float) -> None:
        spend(wanted_s)
        if wanted_s == 0.1 and simulation.now_s >= 1085.0 and next(seconds, None):
            simulation.now_s += 4.0

    simulation.spend = stall  # type: ignore[method-assign]
    assert simulation.run() == pytest.approx(120.0, rel=0.01)


def test_an_hour_of_sleep_is_not_taken_from_the_budget() -> None:
    simulation = Simulation(Machine(5.0, 0.1, 0.1, 0.1), 2.0)
    spend, nights = simulation.spend, iter([3600.0])

    def sleep(wanted_s: float) -> None:
        spend(wanted_s)
        if wanted_s == 0.1 and simulation.now_s >= 1040.0:
            simulation.now_s += next(nights, 0.0)

    simulation.spend = sleep  # type: ignore[method-assign]
    assert simulation.run() - 3600.0 == pytest.approx(120.0, rel=0.01)
