"""Two times compared: ratios by hand, intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.comparison import compare_times, compare_timings


def test_times_that_only_one_side_or_one_process_has_are_left_out() -> None:
    one, other = [1.0] * 5, [2.0] * 5
    a = [{"step": one, "input": one}, {"step": one}]
    (found,) = compare_timings(a, [{"step": other, "input": other}])
    assert (found.name, found.ratio) == ("step", 0.5)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(UsageError, match="share no timing: measure the same"):
        compare_timings([{"step": [1.0] * 5}], [{"input": [1.0] * 5}])
    with pytest.raises(UsageError, match="at least 5 times"):
        compare_timings([{"step": [1.0] * 4}], [{"step": [1.0] * 5}])


def test_the_interval_holds_the_true_ratio_in_about_95_of_100_experiments() -> None:
    random, held, trials, truth = np.random.default_rng(5), 0, 150, 1.1
    for _ in range(trials):
        a, b = np.exp(0.05 * random.standard_normal((2, 25)))
        found = compare_times("step", [a * truth], [b], random)
        assert found is not None
        held += found.low <= truth <= found.high
    assert held / trials > 0.89  # 95 less three standard errors of 1.8
    assert held < trials


def test_processes_that_differ_widen_the_interval() -> None:
    steady = np.linspace(0.99, 1.01, 20)
    alike = compare_times("step", [steady, steady], [steady, steady], np.random.default_rng(0))
    apart = compare_times(
        "step", [steady, 1.2 * steady], [steady, steady], np.random.default_rng(0)
    )
    assert alike is not None
    assert apart is not None
    assert alike.high - alike.low < 0.03
    assert apart.low < 1.01
    assert apart.high > 1.19
    assert apart.verdict == "within the noise"


def test_too_few_timings_or_none_that_a_clock_can_tell_make_no_ratio() -> None:
    random = np.random.default_rng(0)
    assert compare_times("step", [[1.0] * 4], [[1.0] * 9], random) is None
    assert compare_times("step", [[0.0] * 9], [[1.0] * 9], random) is None
