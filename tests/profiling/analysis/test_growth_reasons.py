"""What is said of a growth fit, for curves whose reasons are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.growth_reasons import explain_growth
from llm_timecycle.profiling.analysis.power_law import fit_growth

SIZES = (8, 16, 32, 64, 128, 256)


def explain(curve: Callable[[int], float], noise: float = 0.0) -> str:
    """Timings that rise and fall by `noise` around a curve, against a million operations a unit."""
    factors = [1 - 2 * noise, 1 - noise, 1, 1 + noise, 1 + 2 * noise]
    fit = fit_growth({n: [curve(n) * factor for factor in factors] for n in SIZES})
    return explain_growth(fit, {n: 1e6 * n for n in SIZES}, "T")


def test_a_fixed_cost_is_named_with_its_share() -> None:
    said = explain(lambda n: 0.012 + 0.001 * n)
    assert said.startswith("time grows as the work does (exponent 1.00, 95 % interval 1.00 to 1.00")
    assert said.endswith(
        "after a fixed cost of 12.0 ms that is 60 % of the time at T = 8 and 4 % at T = 256"
    )


def test_growth_slower_than_the_work_says_by_how_much_work_gets_cheaper() -> None:
    said = explain(lambda n: 0.001 * n**0.8)
    assert said.startswith("time grows slower than the work (exponent 0.80,")
    assert "against 1.00" in said
    # An operation costs n^-0.2: 32^0.2 = 2.
    assert said.endswith("an operation is 2.00 times cheaper at T = 256 than at 8")


def test_growth_faster_than_the_work_says_by_how_much_work_gets_dearer() -> None:
    said = explain(lambda n: 0.001 * n**1.2)
    assert said.startswith("time grows faster than the work (exponent 1.20,")
    assert said.endswith("an operation is 2.00 times dearer at T = 256 than at 8")


def test_a_wide_interval_does_not_claim_a_difference() -> None:
    assert explain(lambda n: 0.001 * n**0.97, noise=0.2).startswith("time grows as the work does")


def test_a_misfit_names_the_size() -> None:
    said = explain(lambda n: 0.001 * n * (4 if n == 64 else 1), noise=0.01)
    assert "miss any one power law by more than noise, T = 64 by the most" in said


def test_time_that_does_not_grow() -> None:
    assert explain(lambda n: 0.5) == (
        "time does not grow (1.00 times as long at T = 256 as at 8), though the work does "
        "(exponent 1.00)"
    )


def test_growth_that_cannot_be_told() -> None:
    said = explain(lambda n: 0.5 + 0.0002 * n, noise=0.3)
    assert said.startswith("how time grows cannot be told from these sizes (exponent")
    assert "to 4.00 or more" in said


def test_counts_of_other_sizes_are_refused() -> None:
    fit = fit_growth({n: [float(n)] * 5 for n in SIZES})
    with pytest.raises(UsageError, match="expected those of the sizes"):
        explain_growth(fit, {8: 1.0}, "T")


def test_work_that_does_not_grow_is_told_from_time_that_does_not() -> None:
    # The time of an operation is 1 ms at every size, of the 90 that do not grow as well.
    sizes = (10, 20, 40, 80, 160)
    fit = fit_growth({n: [0.001 * (90 + n)] * 5 for n in sizes})
    said = explain_growth(fit, {n: 90.0 + n for n in sizes}, "V")
    assert "fixed cost of 90.0 ms that is 90 % of the time at V = 10" in said
    assert "(of the work at V = 10, 90 % does not grow either)" in said
    assert "an operation is" not in said
