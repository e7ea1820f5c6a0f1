"""What is shown while a model trains, in a terminal of a given width."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from llm_timecycle.evaluation.stream import Sums
from llm_timecycle.training.reporting import display as display_module
from llm_timecycle.training.reporting.curve import LEVELS, draw_curve
from llm_timecycle.training.reporting.display import Display, fold


@given(st.text(max_size=200), st.integers(2, 60), st.integers(1, 3))
def test_a_sample_is_folded_into_lines_that_fit(text: str, cells: int, lines: int) -> None:
    folded = fold(text, cells, lines)
    assert len(folded) <= lines
    for line in folded:
        assert cell_len(line) <= cells
        assert line.isprintable()


def test_a_sample_that_is_cut_short_says_so() -> None:
    assert fold("abcdefgh", cells=4, lines=2) == ["abcd", "efgh"]
    assert fold("abcdefghi", cells=4, lines=2) == ["abcd", "efg…"]
    assert fold("", cells=4, lines=2) == []
    assert fold("a\x1b[31mb\n\n\nc", cells=40, lines=1) == ["a [31mb ↵ c"]


def test_a_validation_is_a_line_with_the_curve_so_far(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "llm_timecycle")
    display = Display(False, [4.0, 2.0, 1.25])
    display.show_validation(2.0, 1_200, Sums(loss_nats=10.0, correct=3, predicted=10), True)
    (line,) = caplog.messages
    assert line == (
        "epoch 2, step 1,200: valid loss 1.0000, perplexity 2.71828 (best so far)  █▅▃▁"
    )
    display.show_sample("nothing without a terminal")
    assert len(caplog.messages) == 1


def test_a_sample_takes_two_lines_of_the_terminal(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "llm_timecycle")
    monkeypatch.setattr(display_module, "measure_width", lambda: 20)
    Display(True, []).show_sample("the quick brown fox jumps over the lazy dog and on")
    (message,) = caplog.messages
    first, second = message.split("\n")
    assert len(first) < 20
    assert len(second) < 20
    assert second.endswith("…")


def test_the_bar_shows_our_time_left_and_not_tqdms(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(True, [])
    with display.open(0, 1_000):
        display.show_step(500, 1_000, 3, 1.5, left_s=75.0)
        display._bar.refresh()
    shown = capsys.readouterr().err
    assert "epoch 3:  50%" in shown
    assert "1:15 left, loss 1.500, ppl 4.482, " in shown
    assert "<" not in shown


def test_the_curve_keeps_its_width_and_passes_over_what_is_no_number() -> None:
    assert draw_curve([]) == draw_curve([2.0]) == ""
    assert draw_curve([2.0, 2.0]) == LEVELS[0] * 2
    assert draw_curve([float("inf"), 3.0, float("nan"), 2.0]) == LEVELS[-1] + LEVELS[0]
    assert len(draw_curve([1.0 / step for step in range(1, 500)])) == 24
    # Each cell is the mean of two: 9, 4, 0 of 9, so the middle one is sqrt(4 / 9) of 7 high.
    assert draw_curve([10.0, 8.0, 5.0, 3.0, 0.0, 0.0], cells=3) == LEVELS[7] + LEVELS[5] + LEVELS[0]
