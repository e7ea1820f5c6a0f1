"""Tokens as people write them, in `ban` and `bias`."""

from __future__ import annotations

import pytest

from llm_timecycle.config.settings import GenerationSettings, TokenizerSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.sampling.token_ids import find_tokens, make_plan
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer


def make_tokenizer(text: str, level: str, **options: object) -> Tokenizer:
    settings = TokenizerSettings(**{"level": level, "vocab_size": 300} | options)
    return Tokenizer.train(settings, [text])


CHARACTERS = make_tokenizer("abc\n中文", "char")
WORDS = make_tokenizer("the cat sat on the mat\n", "word")
PIECES = make_tokenizer("the the the the then then\n" * 20, "subword", vocab_size=262)


@pytest.mark.parametrize(
    ("tokenizer", "text", "shown"),
    [
        (CHARACTERS, "中", "中"),
        (CHARACTERS, "\n", "\\n"),
        (CHARACTERS, "\\n", "\\n"),
        (CHARACTERS, "<eos>", "<eos>"),
        (CHARACTERS, "<unk>", "<unk>"),
        (WORDS, "the", "the"),
        (WORDS, " the", "the"),
        (WORDS, "\n", "<eos>"),
        (WORDS, "<eos>", "<eos>"),
        (WORDS, "<unk>", "<unk>"),
        (PIECES, " the", " the"),
        (PIECES, "he", "he"),
        (PIECES, "\\xe4", "\\xe4"),
        (make_tokenizer("the cat", "word", lowercase=True), "The", "the"),
    ],
)
def test_a_text_means_one_token(tokenizer: Tokenizer, text: str, shown: str) -> None:
    (token,) = find_tokens(tokenizer, "ban", [text])
    assert tokenizer.token(token) == shown


def test_a_text_that_is_no_token_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        find_tokens(WORDS, "ban", ["dog", "the", "the cat", "mats"])
    assert str(caught.value).splitlines() == [
        "ban: received 'dog', which the model does not know; expected one token",
        "ban: received 'the cat', which is 2 tokens of this model ('the', 'cat'); "
        "expected one token",
        "ban: received 'mats', which the model does not know; expected one token; "
        "did you mean 'mat'?",
    ]


def test_not_more_than_some_are_explained() -> None:
    with pytest.raises(UsageError) as caught:
        find_tokens(WORDS, "ban", [f"dog{number}" for number in range(1023)])
    *explained, last = str(caught.value).splitlines()
    assert len(explained) == 20
    assert last == "ban: 1,003 others are not one token, either"


def test_unk_is_banned_unless_it_is_allowed() -> None:
    assert make_plan(GenerationSettings(), WORDS).banned == (WORDS.unk_id,)
    assert make_plan(GenerationSettings(allow_unknown=True), WORDS).banned == ()


def test_a_plan_has_the_ids_of_all_texts() -> None:
    settings = GenerationSettings(ban=["cat", "<unk>"], bias={"the": 2.5, "mat": -1.0})
    the, mat, cat = WORDS.encode("the mat cat").tolist()
    plan = make_plan(settings, WORDS)
    assert plan.banned == (WORDS.unk_id, cat)
    assert plan.bias == ((the, 2.5), (mat, -1.0))
    assert plan.settings is settings


def test_the_biases_of_texts_that_mean_one_token_add_up() -> None:
    tokenizer = make_tokenizer("the cat", "word", lowercase=True)
    the, cat = tokenizer.encode("the cat").tolist()
    settings = GenerationSettings(bias={"The": -5.0, "cat": 2.0, "the": -1.0})
    assert make_plan(settings, tokenizer).bias == ((the, -6.0), (cat, 2.0))


def test_breakers_are_read_as_a_prompt_is() -> None:
    tokenizer = make_tokenizer("the cat", "word", lowercase=True)
    settings = GenerationSettings(dry_multiplier=1.0, dry_sequence_breakers=["CAT"])
    (cat,) = tokenizer.encode("cat").tolist()
    assert make_plan(settings, tokenizer).breakers == {tokenizer.eos_id, cat}


def test_the_vocabulary_is_read_once_for_all_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make_tokenizer("the cat\n", "char")
    settings = GenerationSettings(dry_multiplier=1.0, ban=["\\n"])
    first = make_plan(settings, tokenizer)
    monkeypatch.setattr(tokenizer, "decode", None)
    monkeypatch.setattr(tokenizer, "token", None)
    assert make_plan(settings, tokenizer) == first


def test_a_bias_on_no_token_is_an_error() -> None:
    with pytest.raises(UsageError, match="bias: received 'dog', which the model does not know"):
        make_plan(GenerationSettings(bias={"dog": 1.0}), WORDS)


def test_not_every_token_can_be_banned() -> None:
    ab = make_tokenizer("ab", "char")
    with pytest.raises(UsageError, match="ban: all 4 tokens are banned; leave at least one"):
        make_plan(GenerationSettings(ban=["a", "b", "<eos>"]), ab)
    plan = make_plan(GenerationSettings(ban=["a", "b", "<eos>"], allow_unknown=True), ab)
    assert len(plan.banned) == 3
