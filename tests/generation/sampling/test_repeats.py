"""DRY and no_repeat_ngram: literals worked by hand, the twins, their place in the order, laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.sampling.history import TextHistory
from llm_timecycle.generation.sampling.pipeline import SamplingPlan, adjust_logits, sample_tokens
from llm_timecycle.generation.sampling.repeats import (
    ban_repeated_ngrams,
    find_dry_penalties,
    find_longest_match,
)
from llm_timecycle.reference.repeats import compute_dry_penalties, list_repeated_ngram_ends

INF = math.inf
TEXTS = st.lists(st.lists(st.integers(0, 3), max_size=40), min_size=1, max_size=3)


def adjust(text: list[int], logits: list[float], **options: object) -> list[float]:
    """The logits after a text, adjusted; `banned`, `bias` and `breakers` beside the settings."""
    parts = {name: options.pop(name) for name in ("banned", "bias", "breakers") if name in options}
    plan = SamplingPlan(GenerationSettings(**options), **parts)
    history = TextHistory([text], plan.longest_match, plan.breakers)
    (adjusted,) = adjust_logits(np.array([logits]), plan, None, history).tolist()
    return adjusted


@pytest.mark.parametrize(
    ("text", "allowed", "penalties"),
    [
        ([1, 2, 3, 1, 2], 2, {3: 1.0}),  # 1 2 is as long as allowed: the multiplier alone
        ([1, 2, 3, 1, 2], 1, {3: 2.0}),
        ([1, 2, 3, 1, 2], 3, {}),
        ([4, 1, 2, 3, 4, 1, 2], 1, {3: 4.0}),
        ([1, 2, 2, 3, 1, 2], 1, {2: 2.0, 3: 1.0}),  # 1 2 then 2; 2 then 2 and then 3
        ([1, 2, 3, 4], 1, {}),
        ([0, 0, 0], 1, {0: 2.0}),  # of two matches with the same follower, the longer
        ([1], 1, {}),
        ([], 1, {}),
    ],
)
def test_dry_by_hand(text: list[int], allowed: int, penalties: dict[int, float]) -> None:
    options = {"dry_multiplier": 1.0, "dry_base": 2.0, "dry_allowed_length": allowed}
    adjusted = adjust(text, [0.0] * 5, **options)
    assert adjusted == [-penalties.get(token, 0.0) for token in range(5)]


def test_dry_multiplies_a_power_of_the_base() -> None:
    options = {"dry_multiplier": 0.8, "dry_base": 1.75, "dry_allowed_length": 1}
    adjusted = adjust([4, 1, 2, 3, 4, 1, 2], [1.0] * 5, **options)
    assert adjusted[3] == pytest.approx(1.0 - 0.8 * 1.75**2)


@pytest.mark.parametrize(
    ("text", "penalties"),
    [
        ([1, 4, 2, 3, 1, 4, 2], {3: 1.0}),  # only 2 matches, not 1 4 2
        ([1, 2, 3, 4, 1, 2, 4], {}),  # the text ends in a breaker
        ([1, 2, 4, 3, 1, 2], {}),  # a breaker is not penalized
    ],
)
def test_no_passage_reaches_across_a_breaker(text: list[int], penalties: dict[int, float]) -> None:
    options = {"dry_multiplier": 1.0, "dry_base": 2.0, "dry_allowed_length": 1}
    adjusted = adjust(text, [0.0] * 5, breakers=frozenset([4]), **options)
    assert adjusted == [-penalties.get(token, 0.0) for token in range(5)]


def test_dry_counts_at_most_50_tokens() -> None:
    text = [*range(100), 100, *range(100)]
    options = {"dry_multiplier": 1.0, "dry_base": 2.0, "dry_allowed_length": 1}
    assert adjust(text, [0.0] * 101, **options)[100] == -(2.0**49)


@given(texts=TEXTS, allowed=st.integers(1, 4), breaker=st.integers(2, 5), base=st.floats(1.0, 3.0))
@settings(max_examples=80)
def test_dry_equals_its_twin(
    texts: list[list[int]], allowed: int, breaker: int, base: float
) -> None:
    options = GenerationSettings(dry_multiplier=0.5, dry_base=base, dry_allowed_length=allowed)
    breakers = frozenset([breaker])
    history = TextHistory(texts, find_longest_match(options), breakers)
    found = find_dry_penalties(history, options, breakers)
    for row, text in enumerate(texts):
        mine = {
            int(token): float(amount)
            for place, token, amount in zip(*found, strict=True)
            if place == row
        }
        assert mine == pytest.approx(compute_dry_penalties(text, 0.5, base, allowed, breakers))


@pytest.mark.parametrize(
    ("text", "n", "banned"),
    [
        ([1, 2, 3, 1, 2], 3, [3]),
        ([1, 2, 3, 1, 2], 2, [3]),
        ([1, 2, 3, 1, 2], 4, []),
        ([1, 2, 3, 1, 2, 4, 1, 2], 3, [3, 4]),
        ([1, 1], 2, [1]),
        ([1, 3], 1, [1, 3]),
        ([1, 3], 5, []),
        ([], 1, []),
    ],
)
def test_no_repeated_ngram_by_hand(text: list[int], n: int, banned: list[int]) -> None:
    adjusted = adjust(text, [7.0] * 5, no_repeat_ngram=n)
    assert adjusted == [-INF if token in banned else 7.0 for token in range(5)]


def test_a_text_that_may_only_repeat_keeps_every_token_that_is_left() -> None:
    assert adjust([0, 1, 2], [1.0, 2.0, 3.0], no_repeat_ngram=1) == [1.0, 2.0, 3.0]
    assert adjust([0, 1], [1.0, 2.0, 3.0], no_repeat_ngram=1, banned=(2,)) == [1.0, 2.0, -INF]
    both = np.array([[1.0, 2.0], [1.0, 2.0]])
    ban_repeated_ngrams(both, TextHistory([[0, 1], [0]], 1), 1)
    assert both.tolist() == [[1.0, 2.0], [-INF, 2.0]]


@given(texts=TEXTS, n=st.integers(1, 5))
@settings(max_examples=80)
def test_no_repeated_ngram_equals_its_twin(texts: list[list[int]], n: int) -> None:
    logits = np.zeros((len(texts), 5))  # the last token is in no text, so one is always left
    ban_repeated_ngrams(logits, TextHistory(texts, max(n - 1, 1)), n)
    for row, text in zip(logits, texts, strict=True):
        assert set(np.flatnonzero(np.isinf(row)).tolist()) == list_repeated_ngram_ends(text, n)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 4))
@settings(max_examples=20)
def test_a_sampled_text_has_no_ngram_twice(seed: int, n: int) -> None:
    """The law that the filter is for; a text of 24 tokens is never out of 25 that are left."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3.0, size=(1, 25))  # always the same, so that texts would repeat
    plan = SamplingPlan(GenerationSettings(no_repeat_ngram=n, temperature=1.0))
    history, text = TextHistory([[]], plan.longest_match), []
    for u in rng.random(24):
        ids = sample_tokens(logits, np.array([u]), plan, None, history)
        history.push(ids)
        text.append(int(ids[0]))
    ngrams = [tuple(text[start : start + n]) for start in range(len(text) - n + 1)]
    assert len(set(ngrams)) == len(ngrams)


def test_bias_is_added_after_dry_and_saves_nothing_from_no_repeat_ngram() -> None:
    options = {"dry_multiplier": 1.0, "dry_base": 2.0, "dry_allowed_length": 2}
    text, bias = [1, 2, 3, 1, 2], ((3, 100.0),)
    assert adjust(text, [0.0] * 5, bias=bias, **options)[3] == 99.0
    assert adjust(text, [0.0] * 5, bias=bias, no_repeat_ngram=3)[3] == -INF


def test_dry_comes_before_top_k_and_counts_at_temperature_0() -> None:
    options = {"dry_multiplier": 5.0, "dry_allowed_length": 1, "temperature": 0.0}
    plan = SamplingPlan(GenerationSettings(**options))
    history = TextHistory([[1, 2, 1]], plan.longest_match)
    logits = np.array([[0.0, 1.0, 4.0]])
    assert sample_tokens(logits, np.zeros(1), plan, None, history).tolist() == [1]
    plan = SamplingPlan(GenerationSettings(**options | {"temperature": 1.0, "top_k": 2}))
    drawn = {
        int(sample_tokens(logits, np.array([u / 50]), plan, None, history)[0]) for u in range(50)
    }
    assert drawn == {0, 1}


@pytest.mark.parametrize(
    ("options", "longest"),
    [
        ({}, 0),
        ({"dry_base": 3.0}, 0),
        ({"dry_multiplier": 0.5}, 50),
        ({"no_repeat_ngram": 1}, 1),
        ({"no_repeat_ngram": 4}, 3),
        ({"no_repeat_ngram": 90, "dry_multiplier": 0.5}, 89),
        ({"no_repeat_ngram": 4, "dry_multiplier": 0.5}, 50),
    ],
)
def test_a_history_is_kept_only_where_it_is_needed(options: dict[str, float], longest: int) -> None:
    assert SamplingPlan(GenerationSettings(**options)).longest_match == longest


def test_a_row_is_adjusted_the_same_alone_and_with_others() -> None:
    rng = np.random.default_rng(1)
    texts = [rng.integers(0, 4, length).tolist() for length in (0, 5, 40, 80)]
    logits = rng.normal(size=(4, 5))
    plan = SamplingPlan(
        GenerationSettings(dry_multiplier=0.8, no_repeat_ngram=5), breakers=frozenset([3])
    )

    def adjust_rows(rows: list[int]) -> list[list[float]]:
        chosen = [texts[row] for row in rows]
        history = TextHistory(chosen, plan.longest_match, plan.breakers)
        adjusted: list[list[float]] = adjust_logits(logits[rows], plan, None, history).tolist()
        return adjusted

    assert adjust_rows([0, 1, 2, 3]) == [adjust_rows([row])[0] for row in range(4)]
