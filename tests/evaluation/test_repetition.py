"""Repetition and distinct-n: literals counted by hand, and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.evaluation.repetition import measure_distinct, measure_repetition

tokens = st.lists(st.integers(0, 3), max_size=30)


@pytest.mark.parametrize(
    ("text", "n", "repetition"),
    [
        ("a b c d", 4, 0.0),  # one 4-gram
        ("a b c d a b c d", 4, 1 / 5),  # abcd bcda cdab dabc abcd
        ("a a a a a a", 4, 2 / 3),  # aaaa three times
        ("a b a b a b", 2, 3 / 5),  # ab ba ab ba ab
        ("a b a c a", 1, 2 / 5),
        ("a b c", 4, 0.0),  # none
        ("", 4, 0.0),
    ],
)
def test_repetition_by_hand(text, n, repetition):
    assert measure_repetition(text.split(), n) == repetition


@pytest.mark.parametrize(
    ("texts", "n", "distinct"),
    [
        (["a b c", "a b c"], 1, 3 / 6),
        (["a b c", "a b c"], 2, 2 / 4),
        (["a b", "b a"], 2, 1.0),  # no bigram across two samples
        (["a", "b"], 2, 1.0),  # none
        ([], 1, 1.0),
    ],
)
def test_distinct_by_hand(texts, n, distinct):
    assert measure_distinct([text.split() for text in texts], n) == distinct


@given(tokens, st.integers(1, 5))
def test_repetition_is_what_occurred_before(sample, n):
    ngrams = [tuple(sample[start : start + n]) for start in range(len(sample) - n + 1)]
    before = [ngram in ngrams[:place] for place, ngram in enumerate(ngrams)]
    assert measure_repetition(sample, n) == (sum(before) / len(before) if before else 0.0)


@given(tokens, st.integers(1, 5))
def test_one_sample_is_as_distinct_as_it_does_not_repeat(sample, n):
    assert measure_distinct([sample], n) == pytest.approx(1 - measure_repetition(sample, n))


@given(tokens, st.integers(1, 5), st.permutations(range(4)))
def test_names_of_tokens_do_not_matter(sample, n, names):
    renamed = np.array([names[token] for token in sample])
    assert measure_repetition(renamed, n) == measure_repetition(sample, n)
