"""Generation with a made-up next-token function in place of a model: what is chosen and shown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from llm_timecycle.config.settings import GenerationSettings, TokenizerSettings
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.generation.decoding import Decoder
from llm_timecycle.generation.generator import (
    GeneratedText,
    TextGenerator,
    describe_unknown_tokens,
)
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

UNK, EOS = 0, 1


class FakeEngine:
    """An engine whose logits are a function of all the ids that a row has read."""

    def __init__(self, find_logits: Callable[[list[int]], np.ndarray]) -> None:
        self.find_logits = find_logits
        self.rows: list[list[int]] = []
        self.calls: list[tuple[str, list[object]]] = []

    def reset(self) -> None:
        self.rows = []

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        self.calls.append(("prefill", ids.tolist()))
        self.rows = ids.tolist()
        return np.array([self.find_logits(row) for row in self.rows])

    def read(self, ids: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def step(self, ids: np.ndarray) -> np.ndarray:
        self.calls.append(("step", ids.tolist()))
        self.rows = [[*row, token] for row, token in zip(self.rows, ids.tolist(), strict=True)]
        return np.array([self.find_logits(row) for row in self.rows])

    def select_rows(self, rows: Sequence[int]) -> None:
        self.rows = [list(self.rows[row]) for row in rows]


def make_tokenizer(text: str, level: str = "char", **options: object) -> Tokenizer:
    settings = TokenizerSettings(level=level, vocab_size=300, **options)
    return Tokenizer.train(settings, [text])


def recite(ids: Sequence[int], vocab_size: int) -> FakeEngine:
    """An engine that is sure of the next of `ids`, whatever was chosen, and of the last for ever.

    It counts what was read after the prompt, so it is one text's, from its first token.
    """
    engine = FakeEngine(lambda _: np.zeros(vocab_size))

    def find_logits(_: list[int]) -> np.ndarray:
        steps = sum(call == "step" for call, _ in engine.calls)
        logits = np.zeros(vocab_size)
        logits[ids[min(steps, len(ids) - 1)]] = 1000.0
        return logits

    engine.find_logits = find_logits
    return engine


def make_reciter(
    tokenizer: Tokenizer, ids: Sequence[int], **settings: object
) -> tuple[TextGenerator, FakeEngine]:
    engine = recite(ids, tokenizer.vocab_size)
    return TextGenerator(engine, tokenizer, GenerationSettings(**settings)), engine


def generate_one(generator: TextGenerator, prompt: str = "") -> GeneratedText:
    (generated,) = generator.generate(prompt)
    return generated


CHARACTERS = make_tokenizer("abc\n中文")
WORDS = make_tokenizer("the cat sat on the mat\n", "word")
BYTES = make_tokenizer("any", "byte")


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text).tolist()


def test_every_token_is_read_once_and_the_state_is_carried() -> None:
    prompt, following = encode(CHARACTERS, "ab"), encode(CHARACTERS, "cab")
    generator, engine = make_reciter(CHARACTERS, following, length=3)
    assert generate_one(generator, "ab") == GeneratedText("cab", tuple(following), "length")
    assert engine.calls == [
        ("prefill", [prompt]),
        ("step", [following[0]]),
        ("step", [following[1]]),
    ]


def test_length_is_counted_in_tokens() -> None:
    generator, _ = make_reciter(WORDS, encode(WORDS, "cat sat"), length=2)
    assert generate_one(generator, "the").text == " cat sat"


@pytest.mark.parametrize("prompt", ["", "  "])
def test_a_prompt_without_tokens_starts_at_a_text_boundary(prompt: str) -> None:
    generator, engine = make_reciter(WORDS, encode(WORDS, "the"), length=1)
    assert generate_one(generator, prompt).text == "the"
    assert engine.calls == [("prefill", [[EOS]])]


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


@pytest.mark.parametrize("word_split", ["whitespace", "unicode"])
def test_at_word_level_eos_is_a_line_break_and_the_text_goes_on(word_split: str) -> None:
    tokenizer = make_tokenizer("the cat sat\n", "word", word_split=word_split)
    generator, _ = make_reciter(tokenizer, encode(tokenizer, "cat\nsat"), length=3)
    generated = generate_one(generator, "the")
    assert (generated.text, generated.finish_reason) == (" cat\nsat", "length")


def test_an_eos_as_the_last_token_ends_the_text() -> None:
    generator, _ = make_reciter(CHARACTERS, [*encode(CHARACTERS, "a"), EOS], length=2)
    assert generate_one(generator).finish_reason == "end_of_text"


def test_a_stop_text_across_tokens_is_never_shown() -> None:
    ids = encode(CHARACTERS, "ab\nca\n\nb")
    generator, _ = make_reciter(CHARACTERS, ids, length=20, stop=["\n\n", "zz"])
    assert list(generator.stream("a")) == ["a", "b", "\nc", "a"]
    generator, _ = make_reciter(CHARACTERS, ids, length=20, stop=["\n\n", "zz"])
    assert generate_one(generator, "a") == GeneratedText("ab\nca", tuple(ids[:7]), "stop")


def test_what_only_began_like_a_stop_text_is_shown_in_the_end() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "ab"), length=2, stop=["bc"])
    assert generate_one(generator) == GeneratedText("ab", tuple(encode(CHARACTERS, "ab")), "length")


def test_no_stop_text_is_looked_for_in_the_prompt() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "ca"), length=2, stop=["bc", "b"])
    assert generate_one(generator, "ab").text == "ca"


def test_half_a_character_is_never_shown() -> None:
    generator, _ = make_reciter(BYTES, encode(BYTES, "中a🙂"), length=8)
    assert list(generator.stream("x")) == ["中", "a", "🙂"]


def test_a_character_that_length_cuts_off_is_shown_as_decode_shows_it() -> None:
    ids = encode(BYTES, "a中")[:3]
    generator, _ = make_reciter(BYTES, ids, length=3)
    assert generate_one(generator, "x").text == BYTES.decode(np.array(ids)) == "a\ufffd"


def test_a_stop_text_that_the_cut_off_character_completes() -> None:
    generator, _ = make_reciter(BYTES, encode(BYTES, "a中"), length=2, stop=["\ufffd"])
    generated = generate_one(generator, "x")
    assert (generated.text, generated.finish_reason) == ("a", "stop")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_unk_is_never_chosen(temperature: float) -> None:
    def prefer_unk(_: list[int]) -> np.ndarray:
        return np.array([100.0] + [0.0] * (CHARACTERS.vocab_size - 1))

    settings = GenerationSettings(temperature=temperature, length=40, seed=1)
    generator = TextGenerator(FakeEngine(prefer_unk), CHARACTERS, settings)
    for generated in generator.generate("a", samples=5):
        assert UNK not in generated.ids


def test_unk_is_chosen_where_it_is_allowed() -> None:
    engine = recite([UNK], WORDS.vocab_size)
    settings = GenerationSettings(allow_unknown=True, length=2)
    generated = generate_one(TextGenerator(engine, WORDS, settings), "the")
    assert (generated.text, generated.ids) == (" <unk> <unk>", (UNK, UNK))


def test_banned_and_biased_tokens_are_meant_by_their_text() -> None:
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


@pytest.mark.parametrize(
    ("penalties", "text"),
    [
        # Logits of a, b, c: 3, 2.5, 1. The prompt is aab.
        ({"presence_penalty": 0.3}, "aaaa"),
        ({"presence_penalty": 2.1}, "caaa"),
        # With 0.6 a time: 1.8 1.9 1 -> b; 1.8 1.3 1 -> a; 1.2 1.3 1 -> b; 1.2 0.7 1 -> a
        ({"frequency_penalty": 0.6}, "baba"),
    ],
)
def test_presence_and_frequency_count_the_prompt_too(
    penalties: dict[str, float], text: str
) -> None:
    a, b, c = encode(CHARACTERS, "abc")

    def find_logits(_: list[int]) -> np.ndarray:
        logits = np.full(CHARACTERS.vocab_size, -10.0)
        logits[[a, b, c]] = 3.0, 2.5, 1.0
        return logits

    settings = GenerationSettings(temperature=0.0, length=4, **penalties)
    generator = TextGenerator(FakeEngine(find_logits), CHARACTERS, settings)
    assert generate_one(generator, "aab").text == text


def test_the_penalty_counts_the_prompt_and_what_was_generated() -> None:
    a, b, c = encode(CHARACTERS, "abc")

    def find_logits(_: list[int]) -> np.ndarray:
        logits = np.full(CHARACTERS.vocab_size, -10.0)
        logits[[a, b, c]] = 3.0, 2.9, 2.8
        return logits

    settings = GenerationSettings(temperature=0.0, length=3, repetition_penalty=1.5)
    generator = TextGenerator(FakeEngine(find_logits), CHARACTERS, settings)
    # a was in the prompt: b is first, then c; then all have appeared and a leads again.
    assert generate_one(generator, "a").text == "bca"


def find_soft_logits(ids: list[int]) -> np.ndarray:
    """Logits that depend on the whole row, nothing likely enough to be sure."""
    return np.sin(np.arange(CHARACTERS.vocab_size) * (1 + sum(ids)) + len(ids))


def draw(samples: int, seed: int | None, **settings: object) -> list[GeneratedText]:
    options = GenerationSettings(**{"temperature": 1.0, "length": 30} | settings, seed=seed)
    return TextGenerator(FakeEngine(find_soft_logits), CHARACTERS, options).generate("a", samples)


def test_the_same_seed_gives_the_same_text() -> None:
    assert draw(3, seed=5) == draw(3, seed=5)
    assert draw(3, seed=5) != draw(3, seed=6)
    assert draw(3, seed=None) != draw(3, seed=None)


@pytest.mark.parametrize("settings", [{}, {"repetition_penalty": 1.7}, {"stop": ["b"]}])
def test_a_sample_is_the_same_alone_and_with_others(settings: dict[str, object]) -> None:
    several = draw(6, seed=2, **settings)
    assert len({generated.ids for generated in several}) > 3
    # Samples end at different times, by <eos> if nothing else, and the others go on.
    assert len({len(generated.ids) for generated in several}) > 1
    for count in (1, 2, 5):
        assert draw(count, seed=2, **settings) == several[:count]


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
    assert describe_unknown_tokens(WORDS, "the dog sat on the dog and log") == (
        "the prompt holds 4 tokens that the model does not know and reads as <unk>: "
        "'dog', 'and', 'log'"
    )
    assert describe_unknown_tokens(WORDS, "the dog") == (
        "the prompt holds 1 token that the model does not know and reads as <unk>: 'dog'"
    )


def test_at_most_ten_unknown_tokens_are_named() -> None:
    warning = describe_unknown_tokens(CHARACTERS, "0123456789xyz")
    assert warning is not None
    assert warning.endswith("'0', '1', '2', '3', '4', '5', '6', '7', '8', '9' and 3 others")


def test_a_known_prompt_is_no_reason_to_warn() -> None:
    assert describe_unknown_tokens(WORDS, "the cat\n") is None


def test_log_probabilities_are_the_models_own_whatever_changes_the_choice() -> None:
    settings = GenerationSettings(
        **{"temperature": 0.3, "top_k": 3, "frequency_penalty": 0.5, "bias": {"a": 2.0}},
        **{"length": 5, "seed": 4, "ban": ["b", "<eos>"]},
    )
    engine = FakeEngine(find_soft_logits)
    generator = TextGenerator(engine, CHARACTERS, settings, with_logprobs=True)
    prompt = encode(CHARACTERS, "a")
    for generated in generator.generate("a", 3):
        assert generated.log_probabilities is not None
        assert len(generated.log_probabilities) == len(generated.ids) == 5
        for place, said in enumerate(generated.log_probabilities):
            weights = np.exp(find_soft_logits([*prompt, *generated.ids[:place]]))
            assert said == pytest.approx(math.log(weights[generated.ids[place]] / weights.sum()))


def test_log_probabilities_are_computed_only_where_they_are_asked_for() -> None:
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


def test_a_stream_has_times_too_also_where_it_was_left() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "a"), length=100)
    stream = generator.stream()
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert generator.times is not None
    assert generator.times.tokens == 2


def test_the_seed_of_a_text_is_told_and_gives_it_again() -> None:
    def write(seed: int | None) -> tuple[str, int | None]:
        settings = GenerationSettings(temperature=1.0, length=30, seed=seed)
        generator = TextGenerator(FakeEngine(find_soft_logits), CHARACTERS, settings)
        return generate_one(generator, "a").text, generator.seed

    text, seed = write(None)
    assert write(seed) == (text, seed)


def begin(settings: GenerationSettings, prompt: str = "a", **options: object) -> Decoder:
    return TextGenerator(FakeEngine(find_soft_logits), CHARACTERS, settings).begin(
        prompt, **options
    )


def finish(decoder: Decoder) -> str:
    for _ in decoder.advance():
        pass
    return decoder.samples[0].text


@pytest.mark.parametrize("penalties", [{}, {"frequency_penalty": 0.5}])
def test_a_text_that_is_resumed_is_the_one_that_was_longer_at_once(
    penalties: dict[str, float],
) -> None:
    settings = {"temperature": 1.0, "seed": 3, "ban": ["<eos>"], **penalties}
    whole = finish(begin(GenerationSettings(length=12, **settings)))
    short = GenerationSettings(length=5, **settings)
    decoder = begin(short, is_final=False)
    assert finish(decoder) == whole[:5]
    for length, reached in ((4, 9), (3, 12)):
        decoder.resume(make_plan(short.model_copy(update={"length": length}), CHARACTERS))
        assert finish(decoder) == whole[:reached]
        assert decoder.measure().tokens == length
        assert decoder.measure().prompt_tokens == 0


def test_a_text_that_was_interrupted_is_resumed_where_it_was() -> None:
    settings = GenerationSettings(temperature=1.0, seed=3, ban=["<eos>"], length=12)
    decoder = begin(settings, is_final=False)
    list(itertools.islice(decoder.advance(), 5))
    assert decoder.samples[0].finish_reason is None
    decoder.resume(make_plan(settings.model_copy(update={"length": 7}), CHARACTERS))
    assert finish(decoder) == finish(begin(settings))


def test_a_penalty_set_between_counts_what_came_before() -> None:
    a, b = encode(CHARACTERS, "ab")
    logits = np.full(CHARACTERS.vocab_size, -10.0)
    logits[[a, b]] = 3.0, 2.9
    settings = GenerationSettings(temperature=0.0, length=2)
    generator = TextGenerator(FakeEngine(lambda _: logits), CHARACTERS, settings)
    decoder = generator.begin("c", is_final=False)
    assert finish(decoder) == "aa"
    decoder.resume(make_plan(settings.model_copy(update={"presence_penalty": 1.0}), CHARACTERS))
    assert finish(decoder) == "aaba"


def test_what_is_held_back_of_a_text_that_may_go_on_is_not_shown_half() -> None:
    ids = encode(BYTES, "a中b")
    engine = recite(ids, BYTES.vocab_size)
    settings = GenerationSettings(length=2, stop=["bx"])
    decoder = TextGenerator(engine, BYTES, settings).begin("x", is_final=False)
    assert finish(decoder) == "a"
    decoder.resume(make_plan(settings.model_copy(update={"length": 3}), BYTES))
    assert finish(decoder) == "a中"
    # The b that may begin the stop text goes over to the new one, which it does not begin.
    decoder.resume(make_plan(GenerationSettings(length=1, stop=["中"]), BYTES))
    assert finish(decoder) == "a中bb"


def test_a_draw_by_its_number_is_that_sample() -> None:
    settings = GenerationSettings(temperature=1.0, length=20, seed=2)
    generator = TextGenerator(FakeEngine(find_soft_logits), CHARACTERS, settings)
    third = generator.generate("a", 3)[2]
    assert finish(begin(settings, first_sample=2)) == third.text


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


def test_a_beam_ends_at_a_stop_text() -> None:
    generator, _ = make_reciter(
        CHARACTERS, encode(CHARACTERS, "abca"), length=4, beams=2, stop=["bc"]
    )
    generated = generate_one(generator)
    assert (generated.text, generated.finish_reason) == ("a", "stop")
    assert generated.ids == tuple(encode(CHARACTERS, "abc"))


def test_no_more_samples_than_beams() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "a"), beams=2)
    with pytest.raises(UsageError, match="samples: received 3; a search with 2 beams finds 2"):
        generator.generate(samples=3)


def test_a_beam_search_cannot_be_streamed() -> None:
    generator, _ = make_reciter(CHARACTERS, encode(CHARACTERS, "a"), beams=2)
    with pytest.raises(UsageError, match="knows no text before its end"):
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
def test_looking_at_the_end_of_a_text_overlooks_no_stop_text(level: str) -> None:
    """Texts of any tokens, invalid bytes too, with stop texts cut from their middle."""
    tokenizer, rng = LEVELS[level], np.random.default_rng(7)
    found = 0
    for _ in range(200):
        ids = rng.integers(2, tokenizer.vocab_size, 60).tolist()
        if level == "byte":  # bytes of Chinese characters, in good order and in bad
            ids = rng.choice(encode(tokenizer, "中文€😀é a"), 60).tolist()
        text = tokenizer.decode(ids)
        start, size = int(rng.integers(len(text))), int(rng.integers(1, 6))
        settings = GenerationSettings(stop=[text[start : start + size]], length=1000)
        engine = FakeEngine(find_soft_logits)
        generator = TextGenerator(engine, tokenizer, settings)
        prompt_ids = np.array([tokenizer.eos_id])
        for end in range(1, len(ids) + 1):
            if generator._write(prompt_ids, ids[:end]).finish_reason == "stop":
                assert generator._may_stop(ids[:end])
                found += 1
                break
    assert found > 150


@pytest.mark.parametrize("level", LEVELS)
def test_a_beam_search_that_looks_at_whole_texts_finds_the_same(
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
    monkeypatch.setattr(generator, "_write", lambda _, ids: written.append(len(ids)))
    monkeypatch.setattr(generator, "_conclude_search", lambda _, found: found.ids)
    assert generator.generate() == [(token,) * 100]
    assert written == []
    assert max(decoded) == 20  # 4 bytes for each of 3 characters, and 8 more
