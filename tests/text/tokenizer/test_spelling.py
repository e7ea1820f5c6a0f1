"""The spelling model of the program: the reference's figures, bounded, read and written."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.errors import RunError
from llm_timecycle.reference.text.spelling import compute_spelling_bits
from llm_timecycle.text.tokenizer import spelling
from llm_timecycle.text.tokenizer.spelling import SYMBOLS, learn_spelling, parse_spelling

WORDS = st.lists(st.text("abc中𝄞", min_size=1, max_size=5), unique=True, max_size=8)


def test_every_character_of_unicode_and_the_end_are_symbols() -> None:
    assert len([*range(0xD800), *range(0xE000, 0x110000)]) + 1 == SYMBOLS


def test_a_word_by_hand() -> None:
    # As in tests/reference, with A = 1,112,065, whose share is too small to see here:
    # p(b | start) = (1 + 2 * 2/8) / 4 = 3/8, p(end | b) = (2 + 2/8) / 3 = 3/4.
    assert learn_spelling(["ab", "b"]).compute_bits("b") == pytest.approx(
        -math.log2(3 / 8 * 3 / 4), rel=1e-5
    )


@given(WORDS, st.text("abcx中", max_size=5))
def test_it_is_the_reference(words: list[str], word: str) -> None:
    expected = compute_spelling_bits(word, words, SYMBOLS)
    assert learn_spelling(words).compute_bits(word) == pytest.approx(expected, rel=1e-12)


@given(WORDS)
def test_it_survives_its_file(words: list[str]) -> None:
    model = learn_spelling(words)
    assert parse_spelling(model.to_json().encode(), "-").following == model.following


def test_of_many_words_some_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling, "WORDS_AT_MOST", 3)
    assert learn_spelling([*"abcdefg"]).following == learn_spelling([*"adg"]).following


def test_only_the_most_frequent_pairs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling, "PAIRS_AT_MOST", 3)
    model = learn_spelling(["ab", "b", "xb", "xc"])
    # start x and b end occur twice and three times; of those that occur once, the first in order.
    assert model.following == {"a": {"b": 1}, "b": {"": 3}, "": {"x": 2}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[]", "no spelling model"),
        ('{"following": {"a": 1}}', "no spelling model"),
        ('{"following": {"a": {"b": 0}}}', "expected counts of pairs of characters"),
        ('{"following": {"ab": {"b": 1}}}', "expected counts of pairs of characters"),
        ('{"following": {"a": {"b": 1.5}}}', "expected counts of pairs of characters"),
    ],
)
def test_a_file_that_is_none(content: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        parse_spelling(content.encode(), "spelling.json")
