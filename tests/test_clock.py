"""The clock adds up what it measured, stage by stage."""

from __future__ import annotations

import pytest

from llm_timecycle.clock import ActiveClock, StageClock


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


def tick_all(clock: ActiveClock, time: FakeTime, spans_s: list[float]) -> list[float]:
    """Let spans of work pass; returns the seconds that count."""
    counted = []
    for span_s in spans_s:
        time.now_s += span_s
        counted.append(clock.tick("step"))
    return counted


def test_a_gap_counts_as_a_usual_span() -> None:
    time = FakeTime()
    clock = ActiveClock(time.now_s, time)
    assert tick_all(clock, time, [1.0, 2.0, 3.0, 3600.0, 1.0]) == [1.0, 2.0, 3.0, 2.0, 1.0]
    assert clock.read_s() == 9.0


def test_a_span_that_is_long_but_not_unusual_counts() -> None:
    time = FakeTime()
    clock = ActiveClock(time.now_s, time)
    spans_s = [1.0, 1.0, 1.0, 29.0, 1.0]  # under half a minute
    assert tick_all(clock, time, spans_s) == spans_s
    spans_s = [10.0] * 9 + [150.0]  # fifteen times the usual
    assert tick_all(clock, time, spans_s) == spans_s


def test_the_first_spans_of_a_kind_count_however_long() -> None:
    """There is nothing to compare the compilation of a model with."""
    time = FakeTime()
    clock = ActiveClock(time.now_s, time)
    tick_all(clock, time, [1.0] * 5)
    assert clock.find_last_s("window") is None
    time.now_s += 90.0
    assert clock.tick("window") == 90.0
    assert (clock.find_last_s("window"), clock.find_last_s("step")) == (90.0, 1.0)
