"""A text as it grows: what each token shows, and what ends it."""

from __future__ import annotations

import numpy as np
import pytest

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.config.text_settings import Documents, TokenizerSettings
from llm_timecycle.generation.generator import (
    GeneratedText,
)
from llm_timecycle.generation.sample import encode_prompt
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from tests.generation.fake_engine import (
    BYTES,
    CHARACTERS,
    EOS,
    WORDS,
    encode,
    generate_one,
    make_reciter,
    make_tokenizer,
)


def test_a_word_after_a_line_break_brings_no_space() -> None:
    generator, _ = make_reciter(WORDS, encode(WORDS, "mat"), length=1)
    assert generate_one(generator, "the cat\n").text == "mat"


@pytest.mark.parametrize("word_split", ["whitespace", "unicode"])
@pytest.mark.parametrize("prompt", ["the", 'on\nsaid "', 'a "cat" (', "one\ntwo\n", '"a\nb'])
def test_the_text_joins_the_prompt_as_if_they_were_one(prompt: str, word_split: str) -> None:
    tokenizer = make_tokenizer('a "cat" ( said ) the\none two on b', "word", word_split=word_split)
    following = encode(tokenizer, 'the " cat')
    options = {"length": len(following), "allow_unknown": True}
    generator, _ = make_reciter(tokenizer, following, **options)
    ids = [*encode(tokenizer, prompt), *following]
    shown = tokenizer.decode(ids[: -len(following)])
    assert shown + generate_one(generator, prompt).text == tokenizer.decode(ids)


@pytest.mark.parametrize("tokenizer", [CHARACTERS, BYTES, make_tokenizer("any", "subword")])
def test_eos_ends_a_text(tokenizer: Tokenizer) -> None:
    ids = [*encode(tokenizer, "ab"), EOS, *encode(tokenizer, "c")]
    generator, engine = make_reciter(tokenizer, ids, length=10)
    shown = tokenizer.decode(np.array(ids[:-2]))
    assert generate_one(generator, "a") == GeneratedText(shown, tuple(ids[:-1]), "end_of_text")
    assert ("step", [EOS]) not in engine.calls


def test_in_words_between_white_space_eos_is_a_line_break_within_a_file() -> None:
    tokenizer = make_tokenizer("the cat sat\n", "word")
    generator, _ = make_reciter(tokenizer, encode(tokenizer, "cat\nsat"), length=3)
    generated = generate_one(generator, "the")
    assert (generated.text, generated.finish_reason) == (" cat\nsat", "length")


@pytest.mark.parametrize("documents", ["line", "paragraph", "record"])
def test_in_words_between_white_space_eos_ends_other_documents(documents: Documents) -> None:
    settings = TokenizerSettings(level="word")
    tokenizer = Tokenizer.train(settings, ["the cat sat"], documents=documents)
    ids = [*encode(tokenizer, "cat\nsat"), EOS]
    generator, _ = make_reciter(tokenizer, ids, length=10)
    generated = generate_one(generator, "the")
    assert (generated.text, generated.finish_reason) == (" cat sat", "end_of_text")


@pytest.mark.parametrize("level", ["char", "word", "subword", "byte"])
def test_a_prompt_begins_a_document_where_a_document_is_not_a_file(level: str) -> None:
    settings = TokenizerSettings(level=level, vocab_size=300)
    lines, files = (Tokenizer.train(settings, ["a b"], documents=kind) for kind in ("line", "file"))
    ids = encode(files, "a b")
    assert encode_prompt(files, "a b").tolist() == ids
    assert encode_prompt(lines, "a b").tolist() == [EOS, *ids]
    assert encode_prompt(files, "").tolist() == encode_prompt(lines, "").tolist() == [EOS]


def test_an_eos_as_the_last_token_ends_the_text() -> None:
    generator, _ = make_reciter(CHARACTERS, [*encode(CHARACTERS, "a"), EOS], length=2)
    assert generate_one(generator).finish_reason == "end_of_text"


def test_a_stop_sequence_across_tokens_is_never_shown() -> None:
    ids = encode(CHARACTERS, "ab\nca\n\nb")
    generator, _ = make_reciter(CHARACTERS, ids, length=20, stop=["\n\n", "zz"])
    assert list(generator.stream("a")) == ["a", "b", "\nc", "a"]
    generator, _ = make_reciter(CHARACTERS, ids, length=20, stop=["\n\n", "zz"])
    assert generate_one(generator, "a") == GeneratedText("ab\nca", tuple(ids[:7]), "stop")


LOWER = make_tokenizer("once. the end.", lowercase=True)
PLAIN = make_tokenizer("once! the end!", normalize="NFKC")


@pytest.mark.parametrize(
    ("tokenizer", "written", "stop"), [(LOWER, "once. the", "THE"), (PLAIN, "once! the", "！ ")]
)
@pytest.mark.parametrize("beams", [1, 2])
def test_a_stop_sequence_is_read_as_a_prompt_is(
    tokenizer: Tokenizer, written: str, stop: str, beams: int
) -> None:
    ids = encode(tokenizer, written)
    generator, _ = make_reciter(tokenizer, ids, length=len(ids), stop=[stop], beams=beams)
    generated = generate_one(generator)
    shown = written.partition(tokenizer.unify(stop))[0]
    assert (generated.text, generated.finish_reason) == (shown, "stop")


def test_a_text_that_goes_on_ends_at_stop_sequences_in_another_form_too() -> None:
    generator, _ = make_reciter(LOWER, encode(LOWER, "once. the end"), length=4)
    decoder = generator.begin(is_final=False)
    for _ in decoder.advance():
        pass
    decoder.resume(make_plan(GenerationSettings(length=9, stop=["THE"]), LOWER))
    for _ in decoder.advance():
        pass
    assert decoder.samples[0].text == "once. "


def test_an_incomplete_stop_sequence_is_shown_at_the_end() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "ab"), length=2, stop=["bc"])
    assert generate_one(generator) == GeneratedText("ab", tuple(encode(CHARACTERS, "ab")), "length")


def test_stop_sequences_in_the_prompt_do_not_count() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "ca"), length=2, stop=["bc", "b"])
    assert generate_one(generator, "ab").text == "ca"


def test_half_a_character_is_never_shown() -> None:
    generator, _ = make_reciter(BYTES, encode(BYTES, "中a🙂"), length=8)
    assert list(generator.stream("x")) == ["中", "a", "🙂"]


def test_a_character_cut_off_by_length_is_shown_as_by_decode() -> None:
    ids = encode(BYTES, "a中")[:3]
    generator, _ = make_reciter(BYTES, ids, length=3)
    assert generate_one(generator, "x").text == BYTES.decode(np.array(ids)) == "a\ufffd"


def test_a_character_cut_off_may_complete_a_stop_sequence() -> None:
    generator, _ = make_reciter(BYTES, encode(BYTES, "a中"), length=2, stop=["\ufffd"])
    generated = generate_one(generator, "x")
    assert (generated.text, generated.finish_reason) == ("a", "stop")
