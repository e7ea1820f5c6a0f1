"""Stages under the roof, by hand."""

from __future__ import annotations

import math

import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.roofline import Roofline, place_under_roof

ROOF = Roofline(peak_operations_per_s=200e9, bandwidth_bytes_per_s=20e9)


def test_a_stage_bound_by_memory() -> None:
    point = place_under_roof("update", 14_000_000, 28_000_000, 0.007, ROOF)
    assert point.intensity == 0.5
    assert point.binding == "memory"
    assert point.bound_s == pytest.approx(0.0014)  # 28 MB at 20 GB/s
    assert point.share == pytest.approx(0.2)
    assert point.operations_per_s == pytest.approx(2e9)
    assert point.bytes_per_s == pytest.approx(4e9)


def test_a_stage_bound_by_computing() -> None:
    point = place_under_roof("forward", 50_000_000_000, 100_000_000, 0.5, ROOF)
    assert (point.binding, point.intensity) == ("compute", 500)
    assert point.bound_s == pytest.approx(0.25)
    assert point.share == pytest.approx(0.5)


def test_the_roof_bends_at_the_ridge() -> None:
    assert ROOF.ridge == 10
    assert ROOF.limit_operations_per_s(5) == 100e9
    assert ROOF.limit_operations_per_s(10) == ROOF.limit_operations_per_s(99) == 200e9
    assert place_under_roof("ridge", 100, 10, 1.0, ROOF).binding == "compute"


def test_copies_compute_nothing_and_registers_move_nothing() -> None:
    gather = place_under_roof("embedding", 0, 20, 1.0, ROOF)
    assert (gather.binding, gather.intensity, gather.operations_per_s) == ("memory", 0, 0)
    assert place_under_roof("registers", 20, 0, 1.0, ROOF).intensity == math.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1, 0.0, ROOF), "a measured time above 0, received 0.0 s"),
        ((0, 0, 1.0, ROOF), "operations or bytes, received 0 and 0"),
        ((-1, 1, 1.0, ROOF), "operations or bytes, received -1 and 1"),
        ((1, 1, 1.0, Roofline(0.0, 1.0)), "ceilings above 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        place_under_roof("stage", *arguments)
