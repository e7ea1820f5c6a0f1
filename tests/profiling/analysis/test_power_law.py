"""The growth fit: exact curves, and how often its interval holds the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.power_law import (
    HIGHEST_EXPONENT,
    GrowthFit,
    explain_growth,
    fit_counts,
    fit_growth,
)

SIZES = 2.0 ** np.arange(3, 9)
REASON_SIZES = (8, 16, 32, 64, 128, 256)
REPEATS = 10


def draw_timings(
    random: np.random.Generator,
    exponent: float,
    constant_share: float,
    noise: np.ndarray,
    outlier_share: float,
) -> dict[float, list[float]]:
    """Timings whose constant is that share of the smallest size's time; noise (S,) is relative."""
    growing = SIZES**exponent
    true_s = growing + growing[0] * constant_share / (1 - constant_share)
    timings = true_s[:, None] * np.exp(
        noise[:, None] * random.standard_normal((len(SIZES), REPEATS))
    )
    is_outlier = random.random(timings.shape) < outlier_share
    timings *= np.where(is_outlier, random.uniform(1.5, 3.0, timings.shape), 1.0)
    return dict(zip(SIZES.tolist(), timings.tolist(), strict=True))


def covers(fit: GrowthFit, exponent: float) -> bool:
    return fit.exponent_low <= exponent <= fit.exponent_high


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("constant", [0.0, 0.5, 30.0])
def test_exact_timings_give_the_curve_back(exponent: float, constant: float) -> None:
    curve = {n: constant + 2.5 * n**exponent for n in (1, 2, 4, 8, 16, 32, 64)}
    fit = fit_growth({n: [time_s] * 5 for n, time_s in curve.items()})
    assert fit.exponent == pytest.approx(exponent, abs=2e-3)
    assert fit.coefficient_s == pytest.approx(2.5, rel=5e-3)
    assert fit.constant_s == pytest.approx(constant, abs=0.03, rel=5e-3)
    assert fit.exponent_high - fit.exponent_low < 2e-3
    assert fit.misfit == 1.0
    assert fit.predict_s(16) == pytest.approx(curve[16], rel=1e-3)


# In each: the exponent, the constant's share of the smallest time, and the noise from the smallest
# size to the largest.
@pytest.mark.parametrize(
    ("exponent", "constant_share", "noise"),
    [(0.5, 0.3, (0.01, 0.01)), (1.0, 0.0, (0.1, 0.01)), (2.0, 0.3, (0.02, 0.1))],
)
def test_the_interval_holds_the_truth_95_times_in_100(
    exponent: float, constant_share: float, noise: tuple[float, float]
) -> None:
    random = np.random.default_rng(5)
    trials = 120
    found = [
        covers(
            fit_growth(
                draw_timings(random, exponent, constant_share, np.geomspace(*noise, 6), 0.02)
            ),
            exponent,
        )
        for _ in range(trials)
    ]
    # Of 120 trials at 95 %, 99 of 100 such tests see 108 to 119.
    assert 108 <= sum(found) <= 119


def test_the_interval_holds_the_truth_over_all_kinds_of_timings() -> None:
    random = np.random.default_rng(7)
    found, widths = [], []
    for trial in range(300):
        exponent = (0.5, 1.0, 2.0)[trial % 3]
        noise = random.uniform(0.01, 0.1, len(SIZES))
        timings = draw_timings(random, exponent, (0.0, 0.4)[trial % 2], noise, 0.02)
        fit = fit_growth(timings)
        found.append(covers(fit, exponent))
        widths.append(fit.exponent_high - fit.exponent_low)
    assert 0.92 <= np.mean(found) <= 0.98
    assert np.median(widths) < 0.3  # and says something


def test_one_slow_timing_changes_little() -> None:
    timings = draw_timings(np.random.default_rng(1), 1.0, 0.3, np.full(6, 0.02), 0.0)
    disturbed = {n: list(ts) for n, ts in timings.items()}
    disturbed[8.0][3] *= 50
    plain, robust = fit_growth(timings), fit_growth(disturbed)
    assert abs(robust.exponent - plain.exponent) < 0.03
    assert robust.exponent_high - robust.exponent_low < 2 * (
        plain.exponent_high - plain.exponent_low
    )


def test_a_step_in_the_curve_is_a_misfit_and_widens_the_interval() -> None:
    timings = draw_timings(np.random.default_rng(1), 1.0, 0.0, np.full(6, 0.01), 0.0)
    plain = fit_growth(timings)
    fit = fit_growth({n: [3 * t if n > 50 else t for t in ts] for n, ts in timings.items()})
    assert plain.misfit == 1.0
    assert fit.misfit > 10
    assert fit.exponent_high - fit.exponent_low > 10 * (plain.exponent_high - plain.exponent_low)


def test_time_that_does_not_grow_has_no_bounded_exponent() -> None:
    random = np.random.default_rng(2)
    fit = fit_growth({n: np.exp(0.01 * random.standard_normal(10)).tolist() for n in SIZES})
    assert (fit.exponent_low, fit.exponent_high) == (0.0, HIGHEST_EXPONENT)
    falling = fit_growth({n: [1 / n] * 5 for n in SIZES})
    assert (falling.exponent, falling.exponent_low) == (0.0, 0.0)
    # The geometric mean of 1/8 to 1/256, at every size.
    assert falling.predict_s(8) == falling.predict_s(256) == pytest.approx(2**-5.5)


def test_the_unit_of_time_and_of_size_changes_no_exponent() -> None:
    timings = draw_timings(np.random.default_rng(3), 1.5, 0.3, np.full(6, 0.03), 0.0)
    fit = fit_growth(timings)
    other = fit_growth({100 * n: [1e-6 * t for t in ts] for n, ts in timings.items()})
    for name in ("exponent", "exponent_low", "exponent_high"):
        assert getattr(other, name) == pytest.approx(getattr(fit, name), abs=1e-6)
    assert other.constant_s == pytest.approx(1e-6 * fit.constant_s, rel=1e-4)


def test_counts_have_the_exponent_of_their_law() -> None:
    assert fit_counts({n: 3 * n**2 for n in (4, 8, 16, 32)}).exponent == pytest.approx(2, abs=1e-3)
    mixed = fit_counts({n: 100 * n + n**2 for n in (4, 8, 16, 32, 64, 128)}).exponent
    assert 1.0 < mixed < 2.0


def test_three_sizes_are_too_few() -> None:
    with pytest.raises(UsageError, match="at least 4 sizes, received 3"):
        fit_growth({n: [1.0] * 5 for n in (1, 2, 3)})


def explain(curve: Callable[[int], float], noise: float = 0.0) -> str:
    """Timings that rise and fall by `noise` around a curve, against a million FLOPs a unit."""
    factors = [1 - 2 * noise, 1 - noise, 1, 1 + noise, 1 + 2 * noise]
    fit = fit_growth({n: [curve(n) * factor for factor in factors] for n in REASON_SIZES})
    return explain_growth(fit, fit_counts({n: 1e6 * n for n in REASON_SIZES}), "T")


def test_a_fixed_cost_is_named_with_its_share() -> None:
    said = explain(lambda n: 0.012 + 0.001 * n)
    assert said.startswith("time grows as the FLOPs do (exponent 1.00, 95 % interval 1.00 to 1.00")
    assert said.endswith(
        "after a fixed cost of 12.0 ms that is 60 % of the time at T = 8 and 4 % at T = 256"
    )


def test_growth_slower_than_the_flops_is_told_by_the_time_for_each() -> None:
    said = explain(lambda n: 0.001 * n**0.8)
    assert said.startswith("time grows slower than the FLOPs (exponent 0.80,")
    assert "against 1.00" in said
    # A FLOP takes n^-0.2: 32^0.2 = 2.
    assert said.endswith("each FLOP takes 2.00 times less at T = 256 than at T = 8")


def test_growth_faster_than_the_flops_is_told_by_the_time_for_each() -> None:
    said = explain(lambda n: 0.001 * n**1.2)
    assert said.startswith("time grows faster than the FLOPs (exponent 1.20,")
    assert said.endswith("each FLOP takes 2.00 times more at T = 256 than at T = 8")


def test_a_wide_interval_does_not_claim_a_difference() -> None:
    assert explain(lambda n: 0.001 * n**0.97, noise=0.2).startswith("time grows as the FLOPs do")


def test_a_misfit_names_the_size() -> None:
    said = explain(lambda n: 0.001 * n * (4 if n == 64 else 1), noise=0.01)
    assert "no power law fits the sizes within their noise, T = 64 is farthest off" in said


def test_time_that_does_not_grow() -> None:
    assert explain(lambda n: 0.5) == (
        "time does not grow (1.00 times as long at T = 256 as at T = 8), though the FLOPs do "
        "(exponent 1.00)"
    )


def test_growth_that_cannot_be_told() -> None:
    said = explain(lambda n: 0.5 + 0.0002 * n, noise=0.3)
    assert said.startswith("these sizes do not show how time grows (exponent")
    assert "to 4.00 or more" in said


def test_flops_that_do_not_grow_are_told_beside_time_that_does_not() -> None:
    # A FLOP takes 1 ms at every size, and so do the 90 that do not grow.
    sizes = (10, 20, 40, 80, 160)
    fit = fit_growth({n: [0.001 * (90 + n)] * 5 for n in sizes})
    said = explain_growth(fit, fit_counts({n: 90.0 + n for n in sizes}), "V")
    assert "fixed cost of 90.0 ms that is 90 % of the time at V = 10" in said
    assert "(90 % of the FLOPs at V = 10 do not grow either)" in said
    assert "each FLOP takes" not in said
