"""Random window widths, worked out by hand."""

from __future__ import annotations

import pytest

from llm_timecycle.reference.windows import choose_width, scale_rate


@pytest.mark.parametrize(
    ("uniform", "normal", "width"),
    [
        (0.0, 0.0, 70),
        (0.949, 0.5, 70),  # 72.5 is rounded to the nearest multiple of 5, a half to the even one
        (0.949, 0.51, 75),
        (0.95, 0.0, 35),
        (0.99, -1.0, 30),
        (0.99, -9.0, 5),  # 35 - 45
        (0.0, 9.0, 80),  # 70 + 45
    ],
)
def test_a_width_by_hand(uniform: float, normal: float, width: int) -> None:
    assert choose_width(70, uniform, normal) == width


def test_the_bounds_are_multiples_too() -> None:
    assert choose_width(32, 0.0, 9.0) == 40  # not above 42


def test_the_rate_is_in_proportion() -> None:
    assert scale_rate(0.5, width=35, window=70) == 0.25
    assert scale_rate(0.5, width=70, window=70) == 0.5
