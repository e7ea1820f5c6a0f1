"""Vocabularies: counts that forget only what is rare."""

from __future__ import annotations

from llm_timecycle.config.tree import TokenizerSettings
from llm_timecycle.text import learning
from llm_timecycle.text.learning import BoundedCounter, learn_vocabulary


def test_a_counter_with_room_is_exact():
    counter = BoundedCounter(3)
    for word in "abaca":
        counter.add([word])
    assert counter.counts == {"a": 3, "b": 1, "c": 1}


def test_a_full_counter_forgets_the_rarest_half():
    counter = BoundedCounter(3)
    counter.add("aaabbc")
    counter.add(["d"])
    # The counts are 1 1 2 3; the upper of the two middle ones is 2, and goes with those below it.
    assert counter.counts == {"a": 3}


def test_frequent_words_survive_a_stream_of_rare_ones(monkeypatch):
    monkeypatch.setattr(learning, "COUNTED_AT_MOST", 50)
    chunks = [f"the {number} cat {number + 0.5} the\n" for number in range(500)]
    settings = TokenizerSettings(level="word", vocab_size=4)
    assert learn_vocabulary(settings, chunks).tokens == ("<unk>", "<eos>", "the", "cat")


def test_merges_are_the_same_each_time():
    settings = TokenizerSettings(level="subword", vocab_size=400)
    text = "the cat and the hat, the thing that thinks\n" * 3
    first, second = (learn_vocabulary(settings, [text]) for _ in range(2))
    assert first == second
    assert len(first.merges) == len(first.tokens) - 258
