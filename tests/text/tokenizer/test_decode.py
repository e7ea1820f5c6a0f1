"""Words to text: where a space belongs."""

from __future__ import annotations

import pytest

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer


def join(word_split: str, text: str, *tokens: str) -> str:
    """The text of tokens, as they are shown, from a vocabulary learned from `text`."""
    settings = TokenizerSettings(level="word", word_split=word_split)  # type: ignore[arg-type]
    tokenizer = Tokenizer.train(settings, [text])
    ids = {tokenizer.token(id): id for id in range(tokenizer.vocab_size)}
    return tokenizer.decode(ids[token] for token in tokens)


def test_words_are_joined_by_one_space_and_lines_by_none():
    tokens = ("a", ",", "b", "<eos>", "<eos>", "<unk>", "c", "<eos>")
    assert join("whitespace", "a , b c", *tokens) == "a , b\n\n<unk> c\n"


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (("the", "cat"), "the cat"),
        (("the", "<unk>", "cat"), "the <unk> cat"),
        (("the", ",", "cat"), "the,cat"),
        (("the", ",", " ", "cat"), "the, cat"),
        (("the", " (", "cat", ")"), "the (cat)"),
        (("the", "\\n", "cat"), "the\ncat"),
        (("the", "中", "cat"), "the中cat"),
        (("the", "<eos>", "cat"), "thecat"),
        (("中", "文"), "中文"),
        ((" ", "the"), " the"),
    ],
)
def test_only_words_that_meet_have_a_space_between_them(tokens, text):
    assert join("unicode", "the, cat (the) 中文\n", *tokens) == text
