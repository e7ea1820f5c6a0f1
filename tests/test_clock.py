"""The clock adds up what it measured, stage by stage."""

from __future__ import annotations

import pytest

from llm_timecycle.clock import StageClock


class FakeTime:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_spans_of_a_stage_add_up_and_taking_begins_anew() -> None:
    time = FakeTime()
    clock = StageClock(time)
    for seconds in (1.0, 2.0):
        with clock.measure("compute"):
            time.now_s += seconds
        time.now_s += 10.0  # between spans: nobody's
    assert clock.take() == {"compute": 3.0}
    assert clock.take() == {}


def test_a_span_that_ends_in_an_error_counts() -> None:
    time = FakeTime()
    clock = StageClock(time)

    def fail_after_four_seconds() -> None:
        with clock.measure("input"):
            time.now_s += 4.0
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail_after_four_seconds()
    assert clock.take() == {"input": 4.0}
