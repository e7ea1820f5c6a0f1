"""Texts for a prompt: pieces, tokens, times and warnings; beam search with stop sequences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.config.settings import GenerationSettings, ModelSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.evaluation.repetition import measure_repetition
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import (
    TextGenerator,
    describe_unknown_tokens,
)
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from tests.generation.fake_engine import (
    BYTES,
    CHARACTERS,
    UNK,
    WORDS,
    FakeEngine,
    encode,
    find_soft_logits,
    generate_one,
    make_reciter,
    make_tokenizer,
    recite,
)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_unk_is_never_sampled(temperature: float) -> None:
    def prefer_unk(_: list[int]) -> np.ndarray:
        return np.array([100.0] + [0.0] * (CHARACTERS.vocab_size - 1))

    settings = GenerationSettings(temperature=temperature, length=40, seed=1)
    generator = TextGenerator(FakeEngine(prefer_unk), CHARACTERS, settings)
    for generated in generator.generate("a", samples=5):
        assert UNK not in generated.ids


def test_unk_is_sampled_if_it_is_allowed() -> None:
    engine = recite([UNK], WORDS.vocab_size)
    settings = GenerationSettings(allow_unknown=True, length=2)
    generated = generate_one(TextGenerator(engine, WORDS, settings), "the")
    assert (generated.text, generated.ids) == (" <unk> <unk>", (UNK, UNK))


def test_banned_and_biased_tokens_are_given_as_text() -> None:
    a, b, c = encode(CHARACTERS, "abc")

    def find_logits(_: list[int]) -> np.ndarray:
        logits = np.full(CHARACTERS.vocab_size, -10.0)
        logits[[a, b, c]] = 3.0, 2.0, 1.0
        return logits

    def write(**options: object) -> str:
        settings = GenerationSettings(temperature=0.0, length=1, **options)
        return generate_one(TextGenerator(FakeEngine(find_logits), CHARACTERS, settings)).text

    assert write() == "a"
    assert write(ban=["a"]) == "b"
    assert write(ban=["a"], bias={"c": 1.5}) == "c"


def test_pieces_join_to_the_text() -> None:
    settings = GenerationSettings(temperature=1.0, length=30, seed=2, stop=["ab", "文c"])
    generator = TextGenerator(FakeEngine(find_soft_logits), CHARACTERS, settings)
    assert "".join(generator.stream("a")) == generate_one(generator, "a").text


def test_the_first_piece_comes_before_the_second_token_is_computed() -> None:
    generator, engine = make_reciter(CHARACTERS, encode(CHARACTERS, "bc"), length=1000)
    assert list(itertools.islice(generator.stream("a"), 1)) == ["b"]
    assert [call for call, _ in engine.calls] == ["prefill"]


def test_every_token_is_reported() -> None:
    reports = []
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "a"), length=4)
    generator.generate("a", 2, after_token=lambda: reports.append(1))
    assert len(reports) == 4


def test_logits_that_are_not_finite_end_generation() -> None:
    broken = FakeEngine(lambda _: np.full(CHARACTERS.vocab_size, math.nan))
    generator = TextGenerator(broken, CHARACTERS, GenerationSettings())
    with pytest.raises(RunError, match="the model's logits are not finite: 8 of 8"):
        generator.generate("a")


def test_unknown_tokens_are_named_and_counted() -> None:
    warning = describe_unknown_tokens(WORDS, "the dog sat on the dog and log")
    assert warning is not None
    assert "4 tokens" in warning
    assert warning.endswith("<unk>: 'dog', 'and', 'log'")
    warning = describe_unknown_tokens(WORDS, "the dog")
    assert warning is not None
    assert "1 token " in warning


def test_at_most_ten_unknown_tokens_are_named() -> None:
    warning = describe_unknown_tokens(CHARACTERS, "0123456789xyz")
    assert warning is not None
    assert warning.endswith("'0', '1', '2', '3', '4', '5', '6', '7', '8', '9' and 3 others")


def test_a_known_prompt_gives_no_warning() -> None:
    assert describe_unknown_tokens(WORDS, "the cat\n") is None


def test_log_probabilities_are_computed_only_on_request() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "a"), length=2)
    assert generate_one(generator).log_probabilities is None


def test_a_text_is_printed_as_its_text() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "ab"), length=2)
    generated = generate_one(generator)
    assert str(generated) == f"{generated}" == generated.text == "ab"


def test_times_come_from_the_clock_that_is_given() -> None:
    # Asked: at the request, after the prompt, after each of three tokens.
    moments = iter([10.0, 14.0, 15.0, 17.0, 18.0])
    engine = recite(encode(CHARACTERS, "abc"), CHARACTERS.vocab_size)
    settings = GenerationSettings(length=3)
    generator = TextGenerator(engine, CHARACTERS, settings, now=lambda: next(moments))
    assert generator.times is None
    generator.generate("aaaaaaaa", samples=2)
    times = generator.times
    assert times is not None
    assert (times.prompt_tokens, times.prompt_s, times.prompt_tokens_per_s) == (8, 4.0, 2.0)
    assert (times.first_token_s, times.token_median_s) == (5.0, 1.5)
    assert (times.tokens, times.tokens_per_s) == (6, 1.5)


def test_a_stream_has_times_even_if_it_is_left_early() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "a"), length=100)
    stream = generator.stream()
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert generator.times is not None
    assert generator.times.tokens == 2


def test_the_reported_seed_gives_the_same_text_again() -> None:
    def write(seed: int | None) -> tuple[str, int | None]:
        settings = GenerationSettings(temperature=1.0, length=30, seed=seed)
        generator = TextGenerator(FakeEngine(find_soft_logits), CHARACTERS, settings)
        return generate_one(generator, "a").text, generator.seed

    text, seed = write(None)
    assert write(seed) == (text, seed)


def test_a_beam_search_gives_the_best_texts() -> None:
    engine = FakeEngine(find_soft_logits)
    settings = GenerationSettings(beams=4, length=6, length_penalty=0.0)
    generator = TextGenerator(engine, CHARACTERS, settings, with_logprobs=True)
    texts = generator.generate("a", samples=3)
    totals = [math.fsum(text.log_probabilities or ()) for text in texts]
    assert len(texts) == 3
    assert totals == sorted(totals, reverse=True)
    greedy = GenerationSettings(temperature=0.0, length=6)
    by_greed = TextGenerator(engine, CHARACTERS, greedy, with_logprobs=True)
    assert totals[0] >= math.fsum(generate_one(by_greed, "a").log_probabilities or ())
    assert generator.seed is None
    assert generator.times is not None
    assert generator.times.tokens == sum(len(text.ids) for text in texts)


def test_a_beam_ends_at_a_stop_sequence() -> None:
    generator, _ = make_reciter(
        CHARACTERS, encode(CHARACTERS, "abca"), length=4, beams=2, stop=["bc"]
    )
    generated = generate_one(generator)
    assert (generated.text, generated.finish_reason) == ("a", "stop")
    assert generated.ids == tuple(encode(CHARACTERS, "abc"))


def test_no_more_samples_than_beams() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "a"), beams=2)
    with pytest.raises(UsageError, match="samples: received 3; expected at most 2"):
        generator.generate(samples=3)


def test_a_beam_search_cannot_be_streamed() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "a"), beams=2)
    with pytest.raises(UsageError, match="cannot stream: its best text is only known at the end"):
        generator.stream()


LINES = 'the cat ( sat ) on " the " mat \n'


LEVELS = {
    "char": CHARACTERS,
    "byte": BYTES,
    "words": make_tokenizer(LINES, "word"),
    "marks": make_tokenizer(LINES, "word", word_split="unicode"),
    "subword": make_tokenizer("the cat sat 中文 " * 30, "subword"),
}


@pytest.mark.parametrize("level", LEVELS)
@given(data=st.data())
@settings(max_examples=60)
def test_the_end_of_a_text_is_enough_to_find_every_stop_sequence(
    level: str, data: st.DataObject
) -> None:
    """Texts of any tokens, invalid bytes too, with stop sequences cut from their middle."""
    tokenizer = LEVELS[level]
    tokens = st.integers(2, tokenizer.vocab_size - 1)
    if level == "byte":  # bytes of whole characters, in any order
        tokens = st.sampled_from(encode(tokenizer, "中文€😀é a"))
    ids = data.draw(st.lists(tokens, min_size=1, max_size=60))
    text = tokenizer.decode(ids)
    start = data.draw(st.integers(0, len(text) - 1))
    stop = text[start : start + data.draw(st.integers(1, 6))]
    options = GenerationSettings(stop=[stop], length=1000)
    generator = TextGenerator(FakeEngine(find_soft_logits), tokenizer, options)
    prompt_ids = np.array([tokenizer.eos_id])
    for end in range(1, len(ids) + 1):
        if generator._replay(prompt_ids, ids[:end]).finish_reason == "stop":
            assert generator._may_stop(ids[:end])
            break


@pytest.mark.parametrize("level", LEVELS)
def test_a_beam_search_that_decodes_whole_texts_finds_the_same(
    level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, V = LEVELS[level], LEVELS[level].vocab_size
    engine = FakeEngine(lambda row: np.random.default_rng(row[-3:]).normal(0.0, 2.0, V))
    free = GenerationSettings(beams=3, length=20, ban=["<eos>"])
    (text,) = TextGenerator(engine, tokenizer, free).generate("the")
    stops = [text.text[4], text.text[9:12]]
    settings = free.model_copy(update={"length_penalty": 0.0, "stop": stops})
    generator = TextGenerator(engine, tokenizer, settings)
    found = generator.generate("the", samples=3)
    assert any(text.finish_reason == "stop" for text in found)
    monkeypatch.setattr(generator, "_may_stop", lambda _: True)
    assert generator.generate("the", samples=3) == found


@pytest.mark.parametrize("tokenizer", [CHARACTERS, BYTES, WORDS])
def test_a_step_of_a_beam_search_decodes_a_bounded_end_of_each_text(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = Tokenizer.decode

    def count(self: Tokenizer, ids: Sequence[int]) -> str:
        decoded.append(len(ids))
        return decode(self, ids)

    written: list[int] = []
    monkeypatch.setattr(Tokenizer, "decode", count)
    token = tokenizer.vocab_size - 1
    generator, _ = make_reciter(tokenizer, [token], length=100, beams=2, stop=["zqz"])
    monkeypatch.setattr(generator, "_replay", lambda _, ids: written.append(len(ids)))
    monkeypatch.setattr(generator, "_conclude_search", lambda _, found: found.ids)
    assert generator.generate() == [(token,) * 100]
    assert written == []
    assert max(decoded) == 20  # 4 bytes for each of 3 characters, and 8 more


def test_unknown_characters_that_the_text_has_in_another_form_are_shown_in_code_points() -> None:
    warning = describe_unknown_tokens(make_tokenizer("e\u0301"), "é")
    assert warning is not None
    assert "'é'. é is U+00E9; the training text has U+0065 U+0301" in warning


@pytest.mark.parametrize(
    ("count", "beams", "message"),
    [
        (-1, 1, "top_logprobs: received -1; expected a whole number from 1 to 8"),
        (9, 1, "received 9; expected a whole number from 1 to 8, the number of tokens"),
        (3, 2, r"a beam search \(beams: 2\) does not record them. Set beams to 1, or leave"),
    ],
)
def test_the_number_of_likeliest_tokens_fits_the_model(
    count: int, beams: int, message: str
) -> None:
    chosen = GenerationSettings(beams=beams)
    with pytest.raises(UsageError, match=message):
        TextGenerator(FakeEngine(find_soft_logits), CHARACTERS, chosen, top_logprobs=count)


def test_a_name_that_was_used_comes_again_with_a_cache() -> None:
    """A model that knows nothing: all that it writes beyond chance comes from its cache."""
    model = ModelSettings(embedding_dim=4, hidden_units=6, num_layers=1)
    tokenizer = make_tokenizer("abcdefghijklmnopqrstuvwxyz ")
    shapes = compute_parameter_shapes(model, tokenizer.vocab_size)
    rng = np.random.default_rng(3)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["output.kernel"][:] = 0.0

    def write(**options: object) -> str:
        generation = GenerationSettings(**{"length": 200, "seed": 1, "temperature": 1.0} | options)
        generator = TextGenerator(NumpyEngine(weights, model), tokenizer, generation)
        return generator.generate("zq zq zq zq ")[0].text

    plain, cached = write(), write(cache=0.9)
    assert write(cache=0.9) == cached
    assert measure_repetition(plain) < 0.05
    assert measure_repetition(cached) > 0.5
    assert write(cache=0.9, cache_theta=1e-6) != cached
