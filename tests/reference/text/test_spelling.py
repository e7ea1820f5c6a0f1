"""The spelling model: by hand, as a distribution over all strings, and where nothing is known."""

import itertools
import math

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.text.spelling import (
    compute_pair_probabilities,
    compute_spelling_bits,
    count_pairs,
)


def test_a_word_by_hand() -> None:
    # The words ab and b have five pairs: start a, a b, b end, start b, b end. So of the symbols,
    # n(a) = 1, n(b) = 2, n(end) = 2, three different ones. With A = 6:
    #   p(b) = (2 + 3/6) / (5 + 3) = 5/16 = p(end)
    #   p(b | start) = (1 + 2 * 5/16) / (2 + 2) = 13/32
    #   p(end | b) = (2 + 1 * 5/16) / (2 + 1) = 37/48
    expected = -math.log2(13 / 32 * 37 / 48)
    assert compute_spelling_bits("b", ["ab", "b"], 6) == pytest.approx(expected, rel=1e-12)
    # Never seen: p(z) = (0 + 3/6) / 8 = 1/16, p(z | start) = (0 + 2/16) / 4 = 1/32, and after z
    # p(end | z) = p(end).
    expected = -math.log2(1 / 32 * 5 / 16)
    assert compute_spelling_bits("z", ["ab", "b"], 6) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("words", [["ab", "b"], ["a"], ["aab", "ba", "bbbb"], []])
def test_all_strings_together_have_probability_one(words: list[str]) -> None:
    # Strings over an alphabet of two, up to six characters, and what longer ones can still have:
    # the probability of not having ended after six.
    length = 6
    strings = (
        "".join(letters)
        for size in range(length + 1)
        for letters in itertools.product("ab", repeat=size)
    )
    ended = sum(2 ** -compute_spelling_bits(string, words, 3) for string in strings)
    p = compute_pair_probabilities(count_pairs(words, "ab"), 3)
    going_on = p[0, 1:] @ np.linalg.matrix_power(p[1:, 1:], length) @ np.ones(2)
    assert 0 < going_on < 0.9
    assert ended + going_on == pytest.approx(1, rel=1e-12)


def test_symbols_outside_the_alphabet_share_the_rest() -> None:
    p = compute_pair_probabilities(count_pairs(["ab"], "ab"), 10)
    unseen = compute_pair_probabilities(count_pairs(["ab"], "abz"), 10)[:, 3]
    assert p.sum(axis=1) + 7 * unseen[:3] == pytest.approx(np.ones(3))


def test_fewer_symbols_than_the_counts_have_is_refused() -> None:
    with pytest.raises(UsageError, match="symbols: expected at least 3, received 2"):
        compute_pair_probabilities(np.zeros((3, 3), np.int64), 2)
