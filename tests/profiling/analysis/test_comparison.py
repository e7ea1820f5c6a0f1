"""Two profiles side by side: ratios by hand, intervals that hold the truth, differences named."""

from __future__ import annotations

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.comparison import (
    ComparedTime,
    Comparison,
    compare,
    compare_times,
)
from llm_timecycle.profiling.render.json_form import describe_profile
from tests.profiling.profiles import make_cycle, make_profile, make_settings


def find(comparison: Comparison, name: str) -> ComparedTime:
    return next(time for time in comparison.times if time.name == name)


def test_a_ratio_is_that_of_the_medians() -> None:
    found = compare(make_profile(training=make_cycle(0.8)), make_profile())
    step = find(found, "step")
    assert (step.a_s, step.b_s) == (pytest.approx(0.264), pytest.approx(0.33))
    assert step.ratio == pytest.approx(0.8)
    assert step.low < 0.8 < step.high < 0.85
    assert step.verdict == "A is faster"
    assert find(found, "inference: prefill").verdict == "within the noise"
    assert find(found, "inference: prefill").ratio == 1


def test_the_other_way_round_is_the_inverse() -> None:
    found = compare(make_profile(), make_profile(training=make_cycle(0.8)))
    assert find(found, "step").ratio == pytest.approx(1.25)
    assert find(found, "step").verdict == "A is slower"


def test_the_same_draws_give_the_same_interval() -> None:
    pair = make_profile(training=make_cycle(0.97)), make_profile()
    assert compare(*pair) == compare(*pair)
    assert compare(*pair).to_dict() == compare(*map(describe_profile, pair)).to_dict()


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


def test_several_processes_of_a_side_are_taken_together() -> None:
    rounds = [make_profile(training=make_cycle(scale)) for scale in (1.0, 1.02)]
    step = find(compare(rounds, [make_profile()]), "step")
    assert step.ratio == pytest.approx(1.01, abs=0.01)
    assert step.verdict == "within the noise"


def test_the_table_says_what_differs_beside_the_times() -> None:
    other = make_profile(name="other", settings=make_settings(batch_size=16))
    found = compare(make_profile(), other)
    assert found.differences["training.batch_size"] == (8, 16)
    assert list(found.differences) == ["training.batch_size"]
    text = str(found)
    assert "A: tiny (A Processor, 2 cores, 24.0 GiB)\nB: other" in text
    assert "1.000  0.9" in text
    assert "within the noise" in text
    assert "training.batch_size" in text
    assert found.to_dict()["differences"]["training.batch_size"] == [8, 16]
    assert "<td>within the noise</td>" in found._repr_html_()


@pytest.mark.parametrize(
    ("a", "message"),
    [
        ([], "an empty list"),
        (3, "received int"),
        ({"version": 1}, "received something else"),
    ],
)
def test_what_cannot_be_compared_is_refused(a: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare(a, make_profile())


def test_profiles_with_no_time_in_common_are_refused() -> None:
    with pytest.raises(UsageError, match="no time in common"):
        compare(make_profile(inference=None), make_profile(training=None))


def test_profiles_with_too_few_timings_are_refused() -> None:
    described = describe_profile(make_profile(inference=None))
    training = described["training"]
    passes = [pair for layer in training["layers"].values() for pair in layer.values()]
    for times in (training["wall"], *training["stages"].values(), *passes):
        times["samples_s"] = times["samples_s"][:4]
    with pytest.raises(UsageError, match="no time in common that was taken at least 5 times"):
        compare(make_profile(), described)
