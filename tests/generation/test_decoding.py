"""The decode loop: what is read, sampled and counted, by seed and by sample; texts resumed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.decoding import Decoder
from llm_timecycle.generation.generator import (
    GeneratedText,
    TextGenerator,
)
from llm_timecycle.generation.sample import SampleRequest
from llm_timecycle.generation.sampling.pipeline import compute_logprobs
from llm_timecycle.generation.sampling.token_ids import make_plan
from tests.generation.fake_engine import (
    BYTES,
    CHARACTERS,
    EOS,
    WORDS,
    FakeEngine,
    encode,
    find_soft_logits,
    generate_one,
    make_reciter,
    recite,
)


def test_every_token_is_read_once_and_the_state_is_carried() -> None:
    prompt, following = encode(CHARACTERS, "ab"), encode(CHARACTERS, "cab")
    generator, engine = make_reciter(CHARACTERS, following, length=3)
    assert generate_one(generator, "ab") == GeneratedText("cab", tuple(following), "length")
    assert engine.calls == [
        ("prefill", [prompt]),
        ("step", [following[0]]),
        ("step", [following[1]]),
    ]


def test_length_counts_tokens() -> None:
    generator, _ = make_reciter(WORDS, encode(WORDS, "cat sat"), length=2)
    assert generate_one(generator, "the").text == " cat sat"


@pytest.mark.parametrize("prompt", ["", "  "])
def test_a_prompt_without_tokens_starts_at_a_text_boundary(prompt: str) -> None:
    generator, engine = make_reciter(WORDS, encode(WORDS, "the"), length=1)
    assert generate_one(generator, prompt).text == "the"
    assert engine.calls == [("prefill", [[EOS]])]


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


def test_the_eos_in_front_of_a_text_is_not_counted_by_a_penalty() -> None:
    logits = np.full(CHARACTERS.vocab_size, -9.0)
    logits[EOS], logits[CHARACTERS.encode("a")[0]] = 1.0, 0.9
    settings = GenerationSettings(temperature=0.0, length=3, presence_penalty=2.0)
    generator = TextGenerator(FakeEngine(lambda _: logits), CHARACTERS, settings)
    assert generate_one(generator).finish_reason == "end_of_text"


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
    # Samples end at different times, by <eos> if nothing else, and the others continue.
    assert len({len(generated.ids) for generated in several}) > 1
    for count in (1, 2, 5):
        assert draw(count, seed=2, **settings) == several[:count]


def test_log_probabilities_are_those_of_the_model_whatever_the_settings() -> None:
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
        for position, logprob in enumerate(generated.log_probabilities):
            weights = np.exp(find_soft_logits([*prompt, *generated.ids[:position]]))
            assert logprob == pytest.approx(
                math.log(weights[generated.ids[position]] / weights.sum())
            )


def begin(settings: GenerationSettings, prompt: str = "a", **options: object) -> Decoder:
    return TextGenerator(FakeEngine(find_soft_logits), CHARACTERS, settings).begin(
        prompt, **options
    )


def finish(decoder: Decoder) -> str:
    for _ in decoder.advance():
        pass
    return decoder.samples[0].text


@pytest.mark.parametrize("penalties", [{}, {"frequency_penalty": 0.5}])
def test_a_resumed_text_equals_a_longer_one(
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


def test_an_interrupted_text_resumes_where_it_was() -> None:
    settings = GenerationSettings(temperature=1.0, seed=3, ban=["<eos>"], length=12)
    decoder = begin(settings, is_final=False)
    list(itertools.islice(decoder.advance(), 5))
    assert decoder.samples[0].finish_reason is None
    decoder.resume(make_plan(settings.model_copy(update={"length": 7}), CHARACTERS))
    assert finish(decoder) == finish(begin(settings))


def test_a_penalty_set_on_resuming_counts_the_text_before() -> None:
    a, b = encode(CHARACTERS, "ab")
    logits = np.full(CHARACTERS.vocab_size, -10.0)
    logits[[a, b]] = 3.0, 2.9
    settings = GenerationSettings(temperature=0.0, length=2)
    generator = TextGenerator(FakeEngine(lambda _: logits), CHARACTERS, settings)
    decoder = generator.begin("c", is_final=False)
    assert finish(decoder) == "aa"
    decoder.resume(make_plan(settings.model_copy(update={"presence_penalty": 1.0}), CHARACTERS))
    assert finish(decoder) == "aaba"


def test_text_held_back_is_kept_for_resuming() -> None:
    ids = encode(BYTES, "a中b")
    engine = recite(ids, BYTES.vocab_size)
    settings = GenerationSettings(length=2, stop=["bx"])
    decoder = TextGenerator(engine, BYTES, settings).begin("x", is_final=False)
    assert finish(decoder) == "a"
    decoder.resume(make_plan(settings.model_copy(update={"length": 3}), BYTES))
    assert finish(decoder) == "a中"
    # The b held back may start the old stop sequence; it does not start the new one.
    decoder.resume(make_plan(GenerationSettings(length=1, stop=["中"]), BYTES))
    assert finish(decoder) == "a中bb"


def test_a_sample_is_found_by_its_number() -> None:
    settings = GenerationSettings(temperature=1.0, length=20, seed=2)
    generator = TextGenerator(FakeEngine(find_soft_logits), CHARACTERS, settings)
    third = generator.generate("a", 3)[2]
    assert finish(begin(settings, first_sample=2)) == third.text


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def begin(self) -> None:
        self.parts.append("begin")

    def end(self, part: str) -> None:
        self.parts.append(part)


def test_an_observer_is_told_of_every_part_of_every_token() -> None:
    settings, notes = GenerationSettings(length=3, seed=1, ban=["<eos>"]), Notes()
    plan = make_plan(settings, CHARACTERS)
    engine = FakeEngine(find_soft_logits)
    decoder = Decoder(
        engine, CHARACTERS, plan, [SampleRequest("a")], now=lambda: 0.0, observer=notes
    )
    assert finish(decoder) == finish(begin(settings))
    token = ["begin", "step", "sampling", "decoding"]
    assert notes.parts == ["begin", "prefill", "begin", "sampling", "decoding", *token, *token]


AGAINST_LOOPS = {"dry_multiplier": 2.0, "dry_allowed_length": 1, "no_repeat_ngram": 3}


def test_dry_and_no_repeat_ngram_see_the_prompt() -> None:
    a, b, c = encode(CHARACTERS, "abc")
    logits = np.full(CHARACTERS.vocab_size, -10.0)
    logits[[a, b, c]] = 3.0, 2.0, 1.0
    engine = FakeEngine(lambda _: logits)

    def continue_ab(**settings: object) -> str:
        options = GenerationSettings(temperature=0.0, length=1, **settings)
        return generate_one(TextGenerator(engine, CHARACTERS, options), "abaab").text

    assert continue_ab() == "a"
    assert continue_ab(no_repeat_ngram=3) == "b"  # aba is there
    assert continue_ab(no_repeat_ngram=2) == "b"
    assert continue_ab(dry_multiplier=1.5, dry_allowed_length=2) == "b"  # 3 - 1.5 < 2
    assert continue_ab(dry_multiplier=1.5, dry_allowed_length=3) == "a"
    assert continue_ab(dry_multiplier=1.5, dry_sequence_breakers=["b"]) == "a"


def test_texts_against_loops_are_the_same_alone_and_with_others() -> None:
    """Also where texts end at different tokens, and the rest go on with what they have seen."""
    settings = GenerationSettings(temperature=1.0, length=30, seed=3, stop=["aa"], **AGAINST_LOOPS)
    together = TextGenerator(FakeEngine(find_soft_logits), CHARACTERS, settings).generate("a", 6)
    assert len({len(text.ids) for text in together}) > 1
    for number, text in enumerate(together):
        assert finish(begin(settings, first_sample=number)) == text.text


def test_a_resumed_text_against_loops_equals_a_longer_one() -> None:
    settings = {"temperature": 1.0, "seed": 3, "ban": ["<eos>"], **AGAINST_LOOPS}
    whole = finish(begin(GenerationSettings(length=20, **settings)))
    decoder = begin(GenerationSettings(length=8, **settings), is_final=False)
    assert finish(decoder) == whole[:8]
    decoder.resume(make_plan(GenerationSettings(length=12, **settings), CHARACTERS))
    assert finish(decoder) == whole


def test_several_prompts_are_read_at_once_and_each_only_once() -> None:
    settings = GenerationSettings(temperature=1.0, length=5, seed=3)
    engine = FakeEngine(find_soft_logits)
    requests = [
        SampleRequest(prompt, number) for number, prompt in enumerate(["ab", "c", "ab", ""])
    ]
    texts = TextGenerator(engine, CHARACTERS, settings).generate_each(requests)
    a, b, c = encode(CHARACTERS, "abc")
    assert engine.calls[0] == ("prefill_each", [[a, b], [c], [EOS]])
    assert texts[0] != texts[2]
    for request, text in zip(requests, texts, strict=True):
        alone = begin(settings, request.prompt, first_sample=request.number)
        assert finish(alone) == text.text


def test_the_likeliest_tokens_of_every_place_are_the_models() -> None:
    """Whatever the settings would allow: the likeliest is banned here, and never generated."""
    settings = GenerationSettings(temperature=0.5, length=6, seed=1, ban=["b"], top_k=1)
    generator = TextGenerator(
        FakeEngine(find_soft_logits), CHARACTERS, settings, with_logprobs=True, top_logprobs=3
    )
    (text,) = generator.generate("a")
    assert text.top_log_probabilities is not None
    assert len(text.top_log_probabilities) == len(text.ids) == len(text.log_probabilities or ())
    prompt, V = encode(CHARACTERS, "a"), CHARACTERS.vocab_size
    for place, ranked in enumerate(text.top_log_probabilities):
        logits = find_soft_logits([*prompt, *text.ids[:place]])
        expected = compute_logprobs(np.tile(logits, (V, 1)), np.arange(V))
        likeliest = np.argsort(-expected)[:3].tolist()
        assert [each.id for each in ranked] == likeliest
        assert [each.token for each in ranked] == [CHARACTERS.token(id) for id in likeliest]
        assert [each.log_probability for each in ranked] == pytest.approx(expected[likeliest])


def test_a_chosen_token_is_read_like_a_drawn_one() -> None:
    settings = GenerationSettings(temperature=0.0, length=4, ban=["<eos>"])
    engine = FakeEngine(find_soft_logits)
    decoder = TextGenerator(engine, CHARACTERS, settings).begin("a", is_final=False)
    choices = decoder.read_choices()
    assert choices.tolist() == find_soft_logits(encode(CHARACTERS, "a")).tolist()
    (chosen,) = encode(CHARACTERS, "中")
    decoder.resume(make_plan(settings, CHARACTERS))
    decoder.choose(chosen)
    text = finish(decoder)
    assert (text[0], len(text)) == ("中", 4)
    assert decoder.measure().tokens == 4
    assert text[1:] == finish(begin(settings.model_copy(update={"length": 3}), "a中"))
    after = decoder.read_choices()  # after a text has ended, what would follow it
    ids = [*encode(CHARACTERS, "a"), *decoder.samples[0].ids]
    assert after.tolist() == find_soft_logits(ids).tolist()


def test_a_chosen_end_ends_the_text() -> None:
    settings = GenerationSettings(temperature=0.0, length=4)
    decoder = begin(settings, is_final=False)
    decoder.resume(make_plan(settings, CHARACTERS))
    decoder.choose(EOS)
    assert finish(decoder) == ""
    assert decoder.samples[0].finish_reason == "end_of_text"
