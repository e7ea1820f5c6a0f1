"""Sampling: every step against literals worked by hand, the order of the steps, and its laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import RunError
from llm_timecycle.generation.sampling.gumbel import compute_gaps, draw_positions
from llm_timecycle.generation.sampling.pipeline import (
    SamplingPlan,
    adjust_logits,
    compute_logprobs,
    make_generators,
    penalize_repetition,
    rank_tokens,
    sample_tokens,
)

INF = math.inf
PROBABILITIES = np.array([0.0625, 0.1875, 0.5, 0.1875, 0.0625])

# Chi-squared: 99.9 % of honest draws stay below these with 4 and with 9 degrees of freedom.
CHI_SQUARED = {4: 18.467, 9: 27.877}


def adjust(logits: list[float], counts: list[int] | None = None, **options: object) -> list[float]:
    banned, bias = options.pop("banned", ()), options.pop("bias", ())
    plan = SamplingPlan(GenerationSettings(**options), banned, bias)
    counted = None if counts is None else np.array([counts])
    (adjusted,) = adjust_logits(np.array([logits]), plan, counted).tolist()
    return adjusted


def test_repetition_penalty_by_hand() -> None:
    counts = [2, 1, 1, 0]
    assert adjust([4.0, -4.0, 0.0, 4.0], counts, repetition_penalty=1.25) == [3.2, -5.0, 0.0, 4.0]


def test_presence_penalty_by_hand() -> None:
    assert adjust([1.0, 1.0, -1.0], [0, 1, 5], presence_penalty=0.75) == [1.0, 0.25, -1.75]


def test_frequency_penalty_by_hand() -> None:
    assert adjust([1.0, 1.0, -1.0], [0, 1, 5], frequency_penalty=0.25) == [1.0, 0.75, -2.25]


def test_penalties_below_0_make_what_appeared_likelier() -> None:
    counts = [0, 2]
    assert adjust([1.0, 1.0], counts, presence_penalty=-1.0, frequency_penalty=-0.5) == [1.0, 3.0]


def test_the_factor_comes_before_the_amounts() -> None:
    penalties = {"repetition_penalty": 2.0, "presence_penalty": 1.0, "frequency_penalty": 0.5}
    assert adjust([4.0], [3], **penalties) == [4.0 / 2.0 - 1.0 - 3 * 0.5]


def test_bias_is_added_after_the_penalties() -> None:
    bias = ((0, 1.0), (2, -2.0))
    assert adjust([4.0, 4.0, 4.0], [1, 0, 0], repetition_penalty=2.0, bias=bias) == [3.0, 4.0, 2.0]


def test_no_bias_saves_a_banned_token() -> None:
    assert adjust([4.0, 4.0, 1.0], bias=((0, 100.0),), banned=(0, 2)) == [-INF, 4.0, -INF]


def test_neutral_settings_adjust_nothing_and_copy_the_logits() -> None:
    logits = np.array([[0.1, -0.3, 7.0]], np.float32)
    adjusted = adjust_logits(logits, SamplingPlan(GenerationSettings()), np.array([[3, 1, 0]]))
    assert adjusted.tolist() == logits.tolist()
    adjusted[:] = 0.0
    assert logits[0, 2] == 7.0


def test_adjusted_logits_are_float64() -> None:
    plan = SamplingPlan(GenerationSettings(), (), ((0, 0.1),))
    adjusted = adjust_logits(np.array([[0.2, 1.0]], np.float32), plan)
    assert adjusted[0, 0] == float(np.float32(0.2)) + 0.1


def test_a_penalty_of_1_changes_nothing() -> None:
    logits = np.array([0.1, -0.3, 7.0])
    assert np.array_equal(penalize_repetition(logits, 1.0), logits)


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({}, False),
        ({"repetition_penalty": 1.1}, True),
        ({"presence_penalty": 0.1}, True),
        ({"frequency_penalty": -0.1}, True),
    ],
)
def test_tokens_are_counted_only_for_a_penalty(options: dict[str, float], counts: bool) -> None:
    assert SamplingPlan(GenerationSettings(**options)).counts_tokens is counts


def test_temperature_by_hand() -> None:
    # Half the temperature squares the odds: 1 : 3 becomes 1 : 9.
    gaps = compute_gaps(np.log(np.array([[0.25, 0.75]])), 0.5)
    assert gaps[0, 1] == 0.0
    assert np.exp(-gaps[0, 0]) == pytest.approx(9.0)


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-3, 100.0])
def test_no_temperature_overflows(temperature: float) -> None:
    for more in (0, 1000):
        logits = np.array([[3e38, -3e38, 3e38, 1.0, *[-1e30] * more]])
        drawn = {
            int(draw_positions(logits, np.array([u / 50]), None, temperature)[0]) for u in range(50)
        }
        assert drawn == {0, 2}


def draw_often(logits: np.ndarray, draws: int = 100_000, **options: object) -> np.ndarray:
    """How often each token is sampled."""
    (generator,) = make_generators(7, [0])
    plan = SamplingPlan(GenerationSettings(**{"temperature": 1.0} | options))
    rows = np.broadcast_to(logits, (1000, len(logits)))
    counts = np.zeros(len(logits))
    for _ in range(draws // 1000):
        ids = sample_tokens(rows, generator.random(1000), plan)
        counts += np.bincount(ids, minlength=len(logits))
    return counts


def test_100_000_draws_are_as_likely_as_the_model_says() -> None:
    counts = draw_often(np.log(PROBABILITIES))
    expected = 100_000 * PROBABILITIES
    assert np.sum((counts - expected) ** 2 / expected) < CHI_SQUARED[4]


def test_draws_from_a_large_vocabulary_are_as_likely_as_the_model_says() -> None:
    # 1,000 tokens in ten groups of 100, the last of them ten times as likely as the first.
    shares = np.arange(1.0, 11.0)
    counts = draw_often(np.repeat(np.log(shares), 100), draws=20_000).reshape(10, 100).sum(axis=1)
    expected = 20_000 * shares / shares.sum()
    assert np.sum((counts - expected) ** 2 / expected) < CHI_SQUARED[9]


def test_draws_after_a_filter_are_as_likely_as_the_renormalized_weights() -> None:
    counts = draw_often(np.log(PROBABILITIES), draws=20_000, top_k=3)
    assert counts[[0, 4]].tolist() == [0, 0]
    expected = 20_000 * np.array([3, 8, 3]) / 14
    # 99.9 % with 2 degrees of freedom
    assert np.sum((counts[1:4] - expected) ** 2 / expected) < 13.816


def test_a_sample_is_the_same_alone_and_with_others() -> None:
    alone = make_generators(3, [0])[0].random(5).tolist()
    with_others = [generator.random(5).tolist() for generator in make_generators(3, range(4))]
    assert with_others[0] == alone
    assert len({tuple(numbers) for numbers in with_others}) == 4
    assert make_generators(3, [2])[0].random(5).tolist() == with_others[2]


def test_a_seed_of_none_is_new_each_time() -> None:
    assert make_generators(None, [0])[0].random() != make_generators(None, [0])[0].random()


EVERYTHING = GenerationSettings(
    **{"temperature": 0.7, "top_k": 200, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.8},
    **{"repetition_penalty": 1.3, "presence_penalty": 0.2, "frequency_penalty": 0.1},
    **{"xtc_probability": 0.5, "xtc_threshold": 0.05},
)


def test_a_row_is_sampled_the_same_alone_and_with_others() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=2, size=(6, 999)).astype(np.float32)
    u, counts = rng.random(6), rng.integers(0, 3, (6, 999))
    plan = SamplingPlan(EVERYTHING, (0, 5), ((7, 2.0),))
    together = sample_tokens(logits, u, plan, counts).tolist()
    alone = [int(sample_tokens(logits[[n]], u[[n]], plan, counts[[n]])[0]) for n in range(6)]
    assert together == alone


@pytest.mark.parametrize("neutral", [{"top_k": 999}, {"top_k": 5000}, {"top_p": 1.0}])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_neutral_settings_are_the_identity(seed: int, neutral: dict[str, object]) -> None:
    rng = np.random.default_rng(seed)
    logits, u = rng.normal(scale=3, size=(20, 999)), rng.random(20)
    plain = sample_tokens(logits, u, SamplingPlan(GenerationSettings(temperature=1.0)))
    options = GenerationSettings(
        **{"temperature": 1.0, "min_p": 0.0, "typical_p": 1.0, "repetition_penalty": 1.0}, **neutral
    )
    counts = rng.integers(0, 3, (20, 999))
    assert sample_tokens(logits, u, SamplingPlan(options), counts).tolist() == plain.tolist()


def sample(logits: list[float], u: float = 0.5, **options: object) -> int:
    """The token sampled from one row; `banned`, `bias` and `counts` beside the settings."""
    banned, bias = options.pop("banned", ()), options.pop("bias", ())
    counts, ends = options.pop("counts", None), options.pop("ends", ())
    chosen = GenerationSettings(**{"temperature": 1.0} | options)
    plan = SamplingPlan(chosen, banned, bias, ends=ends)
    ids = sample_tokens(
        np.array([logits], np.float32),
        np.array([u]),
        plan,
        None if counts is None else [np.array(counts)],
    )
    return int(ids[0])


def list_sampled(logits: list[float], **options: object) -> set[int]:
    """Every token that any of 50 draws gives."""
    return {sample(logits, u / 50, **options) for u in range(50)}


def test_greedy_takes_the_lowest_of_the_likeliest_whatever_the_draw() -> None:
    assert {sample([1, 3, 3, 2], u, temperature=0.0) for u in (0.0, 0.5, 0.99)} == {1}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_banned_token_is_never_sampled(temperature: float) -> None:
    found = list_sampled([9, 1, 1], temperature=temperature, banned=(0,), top_k=2)
    assert found == ({1} if temperature == 0.0 else {1, 2})


def test_penalties_and_bias_come_before_the_greedy_choice() -> None:
    # 4 / 2 falls below 3; with 1.5 added it leads again.
    options = {"temperature": 0.0, "repetition_penalty": 2.0, "counts": [1, 0, 0]}
    assert sample([4, 3, 1], **options) == 1
    assert sample([4, 3, 1], **options, bias=((0, 1.5),)) == 0


def test_temperature_comes_before_top_p() -> None:
    # Odds 2 : 1 : 1 give the first half; at temperature 0.5 they are 4 : 1 : 1, two thirds.
    logits = [math.log(2), 0.0, 0.0]
    assert list_sampled(logits, top_p=0.6) == {0, 1}
    assert list_sampled(logits, top_p=0.6, temperature=0.5) == {0}


def test_top_k_comes_before_top_p() -> None:
    # Of all four, the first has 0.4 < 0.5; of the two likeliest, 0.4 / 0.7 > 0.5.
    logits = np.log([0.4, 0.3, 0.2, 0.1]).tolist()
    assert list_sampled(logits, top_p=0.5) == {0, 1}
    assert list_sampled(logits, top_p=0.5, top_k=2) == {0}


def test_typical_p_comes_after_top_p_and_min_p() -> None:
    # Surprises of 0.916 and, six times, 2.303 nats: H = 0.4 * 0.916 + 0.6 * 2.303 = 1.748, from
    # which the likeliest is further. Of the likeliest alone there is nothing else to take.
    logits = np.log([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]).tolist()
    assert list_sampled(logits, typical_p=0.05) == {1}
    assert list_sampled(logits, typical_p=0.05, top_p=0.3) == {0}
    assert list_sampled(logits, typical_p=0.05, min_p=0.3) == {0}


def test_xtc_comes_last_and_sees_what_the_others_left() -> None:
    # Of all five, 0.3 and 0.3 reach 0.24; of the three likeliest, so does 0.2 / 0.8.
    logits = np.log([0.3, 0.3, 0.2, 0.1, 0.1]).tolist()
    options = {"xtc_probability": 1.0, "xtc_threshold": 0.24}
    assert list_sampled(logits, **options) == {0, 2, 3, 4}
    assert list_sampled(logits, **options, top_k=3) == {2}
    assert list_sampled(logits, **options, top_p=0.75) == {2}
    assert list_sampled(logits, **options, min_p=0.5) == {2}
    # At temperature 4, the likeliest has 0.3 ** 0.25 / (0.3 ** 0.25 + ...) = 0.226.
    assert list_sampled(logits, **options, temperature=4.0) == {0, 1, 2, 3, 4}
    assert list_sampled(logits, **options, temperature=0.0) == {0}


def test_xtc_acts_as_often_as_it_says() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2]))
    counts = draw_often(logits, 20_000, xtc_probability=0.4, xtc_threshold=0.25)
    # Where it acts, 0.3 and 0.2 are left, which are 0.6 and 0.4.
    expected = 20_000 * (0.6 * np.array([0.5, 0.3, 0.2]) + 0.4 * np.array([0.0, 0.6, 0.4]))
    assert np.sum((counts - expected) ** 2 / expected) < 13.816  # 99.9 %, 2 degrees of freedom


def test_xtc_removes_nothing_where_a_line_or_a_text_may_end() -> None:
    logits = np.log([0.4, 0.3, 0.2, 0.1]).tolist()
    options = {"xtc_probability": 1.0, "xtc_threshold": 0.15}
    assert list_sampled(logits, **options) == {2, 3}
    assert list_sampled(logits, **options, ends=(1,)) == {0, 1, 2, 3}
    assert list_sampled(logits, **options, ends=(1,), top_k=3) == {0, 1, 2}
    assert list_sampled(logits, **options, ends=(2, 3)) == {2, 3}  # these it does not remove


def test_a_text_without_xtc_is_the_same_as_before_there_was_xtc() -> None:
    logits = np.log(np.array([[0.4, 0.3, 0.2, 0.1]] * 50))
    u = np.arange(50) / 50
    plain = sample_tokens(logits, u, SamplingPlan(GenerationSettings(temperature=1.0)))
    idle = GenerationSettings(temperature=1.0, xtc_probability=1e-9)
    assert sample_tokens(logits, u, SamplingPlan(idle)).tolist() == plain.tolist()


def test_the_likeliest_tokens_come_first_and_of_equals_the_lowest_id() -> None:
    logits = np.log(np.array([PROBABILITIES, np.roll(PROBABILITIES, 1)])) + 5.0
    ids, logprobs = rank_tokens(logits, 3)
    assert ids.tolist() == [[2, 1, 3], [3, 2, 4]]
    assert np.exp(logprobs) == pytest.approx(np.array([[0.5, 0.1875, 0.1875]] * 2))
    assert rank_tokens(logits, 5)[0].tolist() == [[2, 1, 3, 0, 4], [3, 2, 4, 0, 1]]


def test_ranking_any_number_of_tokens_takes_one_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.random.default_rng(1).normal(size=(2, 50)).astype(np.float32)
    taken, exp = [], np.exp
    monkeypatch.setattr(np, "exp", lambda gaps: (taken.append(gaps.size), exp(gaps))[1])
    ids, logprobs = rank_tokens(logits, 40)
    assert taken == [logits.size]
    for column, found in zip(ids.T, logprobs.T, strict=True):
        assert found.tolist() == compute_logprobs(logits, column).tolist()


def test_log_probabilities_are_those_of_the_model() -> None:
    logits = np.log(np.array([PROBABILITIES, np.roll(PROBABILITIES, 1)])) + 5.0
    found = compute_logprobs(logits, np.array([2, 0]))
    assert found == pytest.approx([math.log(0.5), math.log(0.0625)])


def test_log_probabilities_of_large_logits_are_finite() -> None:
    found = compute_logprobs(np.array([[3e38, -3e38]], np.float32), np.array([0]))
    assert found.tolist() == [0.0]


@pytest.mark.parametrize("bad", [math.nan, INF, -INF])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_an_error(bad: float, temperature: float) -> None:
    with pytest.raises(RunError, match="the model's logits are not finite: 1 of 3 are infinite or"):
        sample([0.0, bad, 1.0], temperature=temperature)
