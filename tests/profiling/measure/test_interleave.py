"""The timing loop: in which order things run, which rounds count, and when it ends."""

from __future__ import annotations

from functools import partial

import pytest

from llm_timecycle.profiling.measure.interleave import interleave


class Program:
    """Runs that take as many seconds as they are told, on a clock that only they move."""

    def __init__(self) -> None:
        self.s = 0.0
        self.order: list[float] = []

    def now(self) -> float:
        return self.s

    def run(self, seconds: float) -> None:
        self.order.append(seconds)
        self.s += seconds


def test_everything_runs_once_a_round_and_the_warm_up_does_not_count() -> None:
    program = Program()
    runs = {size: partial(program.run, size) for size in (1.0, 2.0, 4.0)}
    samples_s = interleave(runs, 5, warm_up=2, now=program.now)
    assert samples_s == {size: (size,) * 5 for size in runs}
    assert program.order == [1.0, 2.0, 4.0] * 7


@pytest.mark.parametrize(
    ("budget_s", "rounds"),
    [(0, 5), (15, 5), (16, 6), (17, 6), (1e9, 15)],  # a round takes 3 s
)
def test_rounds_begin_until_the_time_is_spent(budget_s: float, rounds: int) -> None:
    program = Program()
    runs = {size: partial(program.run, size) for size in (1.0, 2.0)}
    samples_s = interleave(runs, 15, fewest=5, budget_s=budget_s, now=program.now)
    assert {len(taken) for taken in samples_s.values()} == {rounds}
