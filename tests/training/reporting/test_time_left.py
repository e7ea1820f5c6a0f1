"""The time left, against the time that a training then takes on a clock that the test moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.training.reporting.time_left import count_due
from tests.training.test_budget_run import BUDGET, Clock, begin, slow_down
from tests.training.test_loop import make_run


@given(
    st.integers(0, 60),
    st.integers(0, 60),
    st.one_of(st.none(), st.integers(1, 20)),
    st.integers(1, 20),
)
def test_what_is_due_is_counted_as_the_loop_does_it(
    step: int, more: int, every: int | None, per_epoch: int
) -> None:
    steps = step + more
    due = [
        number
        for number in range(step + 1, steps + 1)
        if number == steps or number % per_epoch == 0 or (every and number % every == 0)
    ]
    assert count_due(step, steps, per_epoch, every) == len(due)


def watch(run: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Train; returns the moment of each estimate with the moment of the end that it foretells."""
    seen: list[tuple[float, float]] = []
    loop = begin(run, clock)
    time_left = loop._reporter.time_left
    estimate = time_left.estimate_s

    def note(*arguments: Any) -> float | None:
        left_s = estimate(*arguments)
        if left_s is not None:
            seen.append((clock.now_s, clock.now_s + left_s))
        return left_s

    monkeypatch.setattr(time_left, "estimate_s", note)
    loop._reporter.is_shown = True  # without a bar: only its estimates
    monkeypatch.setattr(loop._reporter._display, "show_step", lambda *_: None)
    loop.train()
    return seen


def test_a_run_of_epochs_ends_when_it_was_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 steps of 0.25 s, 7 validations of 0.2 s, 10 checkpoints of 0.01 s."""
    clock = Clock()
    slow_down(clock, monkeypatch)
    seen = watch(make_run(tmp_path / "run"), clock, monkeypatch)
    assert len(seen) == 24 - 3
    end_s = clock.now_s
    began_s = seen[0][0]
    # Before the first validation, its time is guessed from that of a step.
    for moment_s, foretold_s in seen:
        assert foretold_s == pytest.approx(end_s, abs=0.12 * (end_s - began_s))
        if moment_s > began_s + 2.0:
            assert foretold_s == pytest.approx(end_s, abs=0.3)


def test_a_run_with_a_budget_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    slow_down(clock, monkeypatch)
    began_s = clock.now_s
    seen = watch(make_run(tmp_path / "run", **BUDGET), clock, monkeypatch)
    assert {round(foretold_s - began_s, 6) for _, foretold_s in seen} == {30.0}
