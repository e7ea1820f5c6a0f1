"""Vocabularies: counts that drop only rare words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.text.tokenizer import vocabulary
from llm_timecycle.text.tokenizer.vocabulary import (
    BoundedCounter,
    _rank_words,
    count_pieces,
    group_chunks,
    learn_vocabulary,
)


def test_a_counter_with_room_is_exact():
    counter = BoundedCounter(3)
    for word in "abaca":
        counter.add([word])
    assert counter.counts == {"a": 3, "b": 1, "c": 1}


def test_a_full_counter_drops_the_rarest_half():
    counter = BoundedCounter(3)
    counter.add("aaabbc")
    counter.add(["d"])
    # The counts are 1 1 2 3; the upper of the two middle ones is 2, and goes with those below it.
    assert counter.counts == {"a": 3}


def test_frequent_words_survive_a_stream_of_rare_ones(monkeypatch):
    monkeypatch.setattr(vocabulary, "DISTINCT_WORDS_COUNTED", 50)
    monkeypatch.setattr(vocabulary, "CHARACTERS_COUNTED_AT_ONCE", 1)
    chunks = [f"the {number} cat {number + 0.5} the\n" for number in range(500)]
    settings = TokenizerSettings(level="word", vocab_size=4)
    assert learn_vocabulary(settings, chunks).tokens == ("<unk>", "<eos>", "the", "cat")


def test_merges_are_the_same_each_time():
    settings = TokenizerSettings(level="subword", vocab_size=400)
    text = "the cat and the hat, the thing that thinks\n" * 3
    first, second = (learn_vocabulary(settings, [text]) for _ in range(2))
    assert first == second
    assert len(first.merges) == len(first.tokens) - 258


def test_words_are_counted_where_each_piece_occurs_once(monkeypatch):
    monkeypatch.setattr(vocabulary, "DISTINCT_WORDS_COUNTED", 50)
    monkeypatch.setattr(vocabulary, "PIECES_COUNTED", 10)
    monkeypatch.setattr(vocabulary, "CHARACTERS_COUNTED_AT_ONCE", 100)
    monkeypatch.setattr(vocabulary, "PIECE_CHARACTERS_COUNTED", 12)
    chunks = [f"the,{number},cat the,{number},cat,of,the,house\n" for number in range(300)]
    settings = TokenizerSettings(level="word", word_split="unicode", vocab_size=5)
    # Each chunk has 7 commas, 3 times "the" and twice "cat".
    assert learn_vocabulary(settings, chunks).tokens[2:] == (",", "the", "cat")


@pytest.mark.parametrize("word_split", ["whitespace", "unicode"])
def test_an_absurdly_long_word_is_left_out(word_split):
    settings = TokenizerSettings(level="word", word_split=word_split)
    chunks = ["x" * 101 + " " + "y" * 100]
    assert learn_vocabulary(settings, chunks).tokens[2:] == ("y" * 100,)


def test_chunks_are_counted_in_groups_of_so_many_characters(monkeypatch):
    monkeypatch.setattr(vocabulary, "CHARACTERS_COUNTED_AT_ONCE", 3)
    assert [*group_chunks(iter(["a", "bc", "def", "", "g"]))] == [["a", "bc"], ["def"], ["", "g"]]
    assert [*group_chunks([])] == []


@pytest.mark.parametrize(
    ("word_split", "expected"),
    [
        ("whitespace", ({"It": 2, "it,": 1}, {})),
        # 70 letters are too many to wait, and no word of more than 100 is kept.
        ("unicode", ({"It ": 2, "it,": 1, "\n": 1}, {" ": 1, "z" * 70: 1, ",": 2})),
    ],
)
def test_pieces_that_are_too_long_do_not_wait(word_split, expected):
    settings = TokenizerSettings(level="word", word_split=word_split)
    text = "It it,\nIt " + "x" * 101 + ("," if word_split == "unicode" else "")
    long = " " + "z" * 70 + "," if word_split == "unicode" else ""
    assert count_pieces(settings, "none", [text, long]) == expected


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 5)), st.integers(1, 10))
def test_the_most_frequent_words_are_those_of_a_full_sort(counts, room):
    expected = sorted(counts, key=lambda word: (-counts[word], word))[:room]
    assert _rank_words(counts, room) == expected
