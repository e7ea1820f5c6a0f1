"""Unknown words pay for their spelling: by hand, and whatever the size of the vocabulary."""

from __future__ import annotations

import _pydecimal
import argparse
import inspect
import math
import tarfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.evaluation.unknown import SpellingCost, compute_spelling_cost
from llm_timecycle.text.corpus import Corpus, open_corpus
from llm_timecycle.text.tokenizer.spelling import learn_spelling
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from llm_timecycle.text.tokenizer.vocabulary import learn_vocabulary

WHITESPACE = TokenizerSettings(level="word", vocab_size=4, word_split="whitespace")


def open_text(place: Path, text: str) -> Corpus:
    """A corpus of one file."""
    (place / "text.txt").write_text(text, encoding="utf-8")
    return open_corpus("text.txt", place, place)


def test_each_unknown_word_pays_each_time(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(WHITESPACE, ["the the cat cat a"])
    assert tokenizer.spelling is not None
    cost = compute_spelling_cost(
        tokenizer, tokenizer.spelling, open_text(tmp_path, "the a cat\nzoo a zoo the\n")
    )
    # The spelling model knows the, cat and a, the one that the vocabulary leaves out included.
    model = learn_spelling(["the", "cat", "a"])
    expected = 2 * model.compute_bits("a") + 2 * model.compute_bits("zoo")
    assert cost == SpellingCost(pytest.approx(expected), 4)


def test_a_mark_for_unknown_words_in_the_text_itself_pays_nothing(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(WHITESPACE, ["the <unk> cat"])
    assert tokenizer.spelling is not None
    corpus = open_text(tmp_path, "the <unk> cat <unk>\n")
    assert compute_spelling_cost(tokenizer, tokenizer.spelling, corpus) == SpellingCost(0.0, 0)


def test_an_unknown_character_pays_as_a_word_of_one(tmp_path: Path) -> None:
    settings = TokenizerSettings(level="char", vocab_size=3, lowercase=True)
    tokenizer = Tokenizer.train(settings, ["aab"])
    assert tokenizer.spelling is not None
    cost = compute_spelling_cost(tokenizer, tokenizer.spelling, open_text(tmp_path, "aB"))
    # Two words of one character, a and b: p(b | start) = (1 + 2 * 1/7) / 4 and p(end | b) =
    # (1 + 1 * 2/7) / 2, as of the symbols n(a) = n(b) = 1, n(end) = 2, and d = 3.
    expected = -math.log2((1 + 2 / 7) / 4 * (1 + 2 / 7) / 2)
    assert cost == SpellingCost(pytest.approx(expected, rel=1e-5), 1)


@pytest.mark.parametrize("level", ["byte", "subword"])
def test_where_nothing_can_be_unknown_there_is_no_spelling_model(level: str) -> None:
    settings = TokenizerSettings(level=level, vocab_size=300)
    assert Tokenizer.train(settings, ["some text"]).spelling is None


@pytest.mark.parametrize(
    ("level", "split", "sizes"),
    [
        ("word", "whitespace", [10_000, 7000, 3000, 1000, 200, 50, 12]),
        ("word", "unicode", [5000, 2000, 500, 100, 12]),
        ("char", "unicode", [90, 80, 60, 50, 40, 30, 20, 12]),
    ],
)
def test_a_smaller_vocabulary_never_looks_better(level: str, split: str, sizes: list[int]) -> None:
    """The language model is a unigram: the token frequencies of the training text."""
    modules = (_pydecimal, argparse, tarfile)
    lines = [line for module in modules for line in inspect.getsource(module).splitlines(True)]
    lines += [line for key in sorted(topics) for line in topics[key].splitlines(True)]
    held_out = "".join(lines[::10])
    training = "".join(line for number, line in enumerate(lines) if number % 10)
    everything = TokenizerSettings(level=level, vocab_size=1_000_000, word_split=split)
    vocabulary = learn_vocabulary(everything, [training])
    assert len(vocabulary.tokens) > 1.05 * sizes[0], "every size must leave words out"
    assert vocabulary.spelling is not None
    costs, without_spelling = [], []
    for size in sizes:
        tokenizer = Tokenizer(everything, replace(vocabulary, tokens=vocabulary.tokens[:size]))
        counts = np.bincount(tokenizer.encode(training), minlength=size) + 0.5
        bits = -np.log2(counts / counts.sum())[tokenizer.encode(held_out)].sum()
        unknown = tokenizer.list_unknown(held_out)
        costs.append(bits + sum(map(vocabulary.spelling.compute_bits, unknown)))
        without_spelling.append(bits)
    assert all(larger < smaller for larger, smaller in pairwise(costs)), costs
    assert without_spelling[-1] < 0.7 * without_spelling[0]  # what the spelling corrects
