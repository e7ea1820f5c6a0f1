"""Numbers with their units."""

from __future__ import annotations

import math

import pytest

from llm_timecycle.profiling.format import format_count, format_digits, format_duration


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0, "0 s"),
        (3e-10, "0.300 ns"),
        (1.5e-6, "1.50 µs"),
        (0.0009999, "1.00 ms"),
        (0.385, "385 ms"),
        (0.99996, "1.00 s"),
        (1234.5, "1,234 s"),
        (-0.02, "-20.0 ms"),
    ],
)
def test_durations(duration_s: float, text: str) -> None:
    assert format_duration(duration_s) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (999_900, "1.00 MB"), (55.8e9, "55.8 GB"), (2e15, "2.00 PB")],
)
def test_counts(count: float, text: str) -> None:
    assert format_count(count, "B") == text


def test_digits() -> None:
    assert [format_digits(x) for x in (9.999, 0.0123, 0, math.inf)] == [
        "10.0",
        "0.0123",
        "0",
        "inf",
    ]
