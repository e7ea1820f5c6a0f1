"""What is chosen for texts of each kind, and that what is given wins and steers the rest."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from llm_timecycle.config.load import check_sources, list_given
from llm_timecycle.config.python_values import PythonValues
from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import DataError
from llm_timecycle.text.corpus import open_corpus
from llm_timecycle.text.survey import TextFacts, survey_text
from llm_timecycle.training.suggest.choose import Suggestion, choose
from llm_timecycle.training.suggest.from_text import describe_text
from llm_timecycle.training.suggest.predict import MachineSpeed

SPEED = MachineSpeed("mixed_bfloat16", 1.2e12, cores=2)
PROSE = TextFacts(
    name="novel.txt",
    characters=1_100_000,
    bytes=1_115_000,
    distinct_characters=80,
    common_characters=75,
    rare_fraction=1e-5,
    script="Latin",
    words=200_000,
    distinct_words=15_000,
    common_words=6_000,
    lines=20_000,
    compressed_fraction=0.4,
    sampled_fraction=1.0,
)


def choose_for(
    facts: TextFacts, minutes: float | None = None, speed: MachineSpeed = SPEED, **given: Any
) -> tuple[Settings, Suggestion]:
    """The settings that result, and the suggestion; `model__hidden_units=9` gives one."""
    fixed = PythonValues({key.replace("__", "."): value for key, value in given.items()}, "given")
    limit = [] if minutes is None else [PythonValues({"training.minutes": minutes}, "minutes")]
    settings = check_sources([*limit, fixed], "given")
    suggestion = choose(facts, speed, settings, list_given([fixed]))
    chosen = PythonValues(suggestion.values, "chosen")
    return check_sources([chosen, fixed], "all"), suggestion


def look_at(place: Path, text: str) -> TextFacts:
    (place / "text.txt").write_text(text, encoding="utf-8")
    return survey_text(open_corpus("text.txt", place, place))


def write_text(kind: str) -> str:
    """A small text of a kind, drawn from a fixed seed."""
    rng = random.Random(1)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 8))) for _ in range(400)]
    if kind == "prose":
        return "".join(
            " ".join(rng.choices(words, k=12)).capitalize() + ".\n" for _ in range(2_000)
        )
    if kind == "chinese":
        return "".join(
            "".join(chr(0x4E00 + int(rng.expovariate(1 / 200))) for _ in range(20)) + "。\n"
            for _ in range(2_000)
        )
    if kind == "code":
        return "".join(
            f"def {a}({b}):\n    return {b}[{rng.randint(0, 9)}] + {a}_{b}\n\n"
            for a, b in zip(rng.choices(words, k=2_000), rng.choices(words, k=2_000), strict=True)
        )
    if kind == "names":
        return "".join(f"{word.capitalize()}\n" for word in rng.choices(words, k=3_000))
    if kind == "mixed":
        return "".join(chr(rng.randint(0x100, 0x2FFF)) for _ in range(30_000)) + "\n"
    assert kind == "repetitive"
    return "the quick brown fox jumps over the lazy dog\n" * 3_000


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("prose", "char"),
        ("chinese", "char"),
        ("code", "char"),
        ("names", "char"),
        ("mixed", "byte"),
        ("repetitive", "char"),
    ],
)
def test_the_level_suits_the_text(tmp_path: Path, kind: str, level: str) -> None:
    settings, _ = choose_for(look_at(tmp_path, write_text(kind)))
    assert settings.tokenizer.level == level


def test_one_of_a_kind_is_described_in_the_singular() -> None:
    one = describe_text(replace(PROSE, distinct_characters=1, words=1, lines=1))
    assert ", 1 different one, mostly Latin; 1 word, 1 line; " in one
    assert ", 80 different ones, mostly Latin; 200,000 words, 20,000 lines; " in describe_text(
        PROSE
    )


def test_rare_chinese_characters_are_left_out_and_common_latin_ones_never(tmp_path: Path) -> None:
    chinese = look_at(tmp_path, write_text("chinese"))
    settings, _ = choose_for(chinese)
    assert settings.tokenizer.vocab_size == chinese.common_characters + 2
    assert chinese.common_characters < chinese.distinct_characters
    assert choose_for(PROSE)[0].tokenizer.vocab_size == 82


def test_chinese_words_of_one_character_each_are_counted_as_characters(tmp_path: Path) -> None:
    chinese = look_at(tmp_path, write_text("chinese"))
    words, _ = choose_for(chinese, tokenizer__level="word")
    characters, _ = choose_for(chinese, tokenizer__level="char")
    assert words.tokenizer.vocab_size == characters.tokenizer.vocab_size
    assert words.training.epochs == characters.training.epochs
    apart, _ = choose_for(chinese, tokenizer__level="word", tokenizer__word_split="whitespace")
    assert apart.tokenizer.vocab_size == max(chinese.common_words, 1) + 2


def test_a_large_text_gets_subwords() -> None:
    large = replace(PROSE, characters=10**8, bytes=10**8, words=17 * 10**6)
    settings, _ = choose_for(large)
    assert (settings.tokenizer.level, settings.tokenizer.vocab_size) == ("subword", 8_000)
    assert settings.model.tie_embeddings
    assert settings.data.valid_fraction * 10**8 == pytest.approx(300_000)


def test_more_time_buys_a_larger_model_and_more_epochs_more_dropout() -> None:
    chosen = [choose_for(PROSE, minutes)[0] for minutes in (1.0, 5.0, 20.0)]
    sizes = [settings.model.hidden_units for settings in chosen]
    assert sizes == sorted(set(sizes))
    assert [settings.training.minutes for settings in chosen] == [1.0, 5.0, 20.0]
    dropouts = [settings.model.dropout for settings in chosen]
    assert dropouts == sorted(dropouts)


WIKITEXT_2 = replace(
    PROSE,
    characters=10_780_000,
    bytes=10_797_000,
    words=2_050_000,
    distinct_words=33_277,
    common_words=30_000,
)
SHORT = replace(PROSE, characters=300_000, bytes=300_000, words=56_000, common_words=2_800)


@pytest.mark.parametrize("facts", [WIKITEXT_2, PROSE, SHORT], ids=["10 MB", "1 MB", "300 kB"])
@pytest.mark.parametrize("level", ["char", "subword", "word"])
def test_more_time_never_chooses_a_smaller_model(facts: TextFacts, level: str) -> None:
    minutes = (0.5, 2.0, 10.0, 60.0, 240.0, 1_440.0)
    chosen = [choose_for(facts, each, tokenizer__level=level)[0] for each in minutes]
    sizes = [settings.model.hidden_units for settings in chosen]
    assert sizes == sorted(sizes)
    assert facts is SHORT or sizes[0] < sizes[-1]  # half a minute may be enough for a short text


def test_a_large_vocabulary_does_not_choose_the_smallest_model() -> None:
    given = {"tokenizer__level": "word", "tokenizer__vocab_size": 33_278}
    settings, _ = choose_for(WIKITEXT_2, 10.0, **given)
    assert settings.model.hidden_units >= 128  # 64 has more tokens, and measured worse per token


def test_dropout_grows_with_the_epochs_and_with_the_model() -> None:
    def choose_dropout(hidden_units: int, epochs: int) -> float:
        given = {"model__hidden_units": hidden_units, "training__epochs": epochs}
        return choose_for(PROSE, **given)[0].model.dropout

    assert [choose_dropout(512, epochs) for epochs in (3, 6, 12, 24)] == [0.0, 0.1, 0.2, 0.3]
    assert choose_dropout(64, 24) == 0.0


def test_weights_fade_in_two_epochs_at_the_peak_rate_whatever_the_text_and_the_rate() -> None:
    for given in ({}, {"training__learning_rate": 0.001}, {"training__batch_size": 16}):
        settings, suggestion = choose_for(PROSE, **given)
        training = settings.training
        rate = training.learning_rate or 3 / settings.model.hidden_units
        window = training.batch_size * training.sequence_length
        steps = PROSE.characters * (1 - 0.1) / window
        assert training.optimizer == "nadam"
        assert 1 / (training.weight_decay * rate) == pytest.approx(2 * steps, rel=0.05)
        assert "2 epochs" in suggestion.reasons["training.weight_decay"]
    assert choose_for(PROSE, training__optimizer="adam")[0].training.weight_decay == 0.0


def test_weights_of_a_short_text_fade_in_500_steps() -> None:
    """Two epochs of it are fewer, in which a weight could not show that it is needed."""
    short = replace(PROSE, characters=10_000, bytes=10_000, words=1_800, lines=300)
    settings, suggestion = choose_for(short)
    training = settings.training
    steps = 9_000 / (training.batch_size * training.sequence_length)
    assert steps < 50
    rate = training.learning_rate or min(3 / settings.model.hidden_units, 0.016)
    assert 1 / (training.weight_decay * rate) == pytest.approx(500, rel=0.05)
    assert f"within {500 / steps:.3g} epochs" in suggestion.reasons["training.weight_decay"]


def test_dropout_keeps_its_mask_over_a_window() -> None:
    dropped = choose_for(PROSE, training__epochs=24)[0].model
    assert (dropped.dropout > 0, dropped.variational_dropout) == (True, True)
    none = choose_for(PROSE, training__epochs=1)[0].model
    assert (none.dropout, none.variational_dropout) == (0.0, False)


def test_a_slow_machine_gets_a_smaller_model() -> None:
    slow = MachineSpeed("float32", 5e10, cores=1)
    settings, _ = choose_for(PROSE, speed=slow)
    assert settings.model.hidden_units < choose_for(PROSE)[0].model.hidden_units
    assert settings.training.precision == "float32"


def test_a_small_text_gets_few_lanes_and_stops_when_it_is_learned(tmp_path: Path) -> None:
    settings, suggestion = choose_for(look_at(tmp_path, write_text("prose")[:10_000]))
    training = settings.training
    lane = 9_000 / training.batch_size
    assert lane >= 8 * training.sequence_length
    assert training.minutes is None
    assert training.patience is not None
    assert "of 10 min" in suggestion.reasons["training.epochs"]
    assert settings.data.valid_fraction * 10_000 == pytest.approx(1_000, rel=0.05)
    assert settings.data.test_fraction == 0.0
    assert settings.model.dropout >= 0.3


def test_a_text_that_repeats_itself_counts_as_a_shorter_one() -> None:
    repeated = replace(PROSE, compressed_fraction=0.01)
    assert choose_for(repeated)[0].model.hidden_units < choose_for(PROSE)[0].model.hidden_units


def test_a_text_too_short_is_refused() -> None:
    with pytest.raises(DataError, match=r"novel\.txt is too short.*499 characters; expected"):
        choose_for(replace(PROSE, characters=499))


def test_what_is_given_is_kept_and_the_rest_suits_it() -> None:
    words, suggestion = choose_for(PROSE, tokenizer__level="word")
    assert words.tokenizer.word_split == "unicode"
    assert words.tokenizer.vocab_size == 6_002
    assert words.training.sequence_length == 16
    assert words.model.tie_embeddings
    assert words.generation.length == 100
    assert (words.generation.dry_multiplier, words.generation.dry_allowed_length) == (0.8, 2)
    assert "tokenizer.level" not in suggestion.reasons
    narrow, _ = choose_for(PROSE, model__hidden_units=100)
    assert (narrow.model.hidden_units, narrow.model.embedding_dim) == (100, 50)
    few, _ = choose_for(PROSE, training__batch_size=8)
    assert few.training.batch_size == 8
    assert few.model.hidden_units < choose_for(PROSE)[0].model.hidden_units  # fewer tokens/s


def test_the_end_of_the_run_that_is_given() -> None:
    steps = choose_for(PROSE, training__max_steps=1_000)[0].training
    assert (steps.max_steps, steps.minutes, steps.epochs) == (1_000, None, 3)  # 2,048,000 tokens
    epochs = choose_for(PROSE, training__epochs=3, model__hidden_units=256)[0]
    assert (epochs.training.epochs, epochs.training.minutes) == (3, None)
    assert epochs.model.dropout == 0.0
    none, suggestion = choose_for(PROSE, training__minutes=None)
    assert none.training.minutes is None
    assert "training.epochs" in suggestion.reasons
    both = choose_for(PROSE, 5.0, training__epochs=3)[0].training
    assert (both.epochs, both.minutes) == (3, 5.0)
    small = replace(PROSE, characters=9_000, bytes=9_000)
    assert choose_for(small, training__minutes=5.0)[0].training.minutes == 5.0


def test_no_choice_contradicts_what_is_given() -> None:
    tiny = replace(PROSE, characters=500, bytes=500)
    assert choose_for(tiny)[0].training.sequence_length == 8
    varied = choose_for(tiny, training__vary_sequence_length=True)[0].training
    assert (varied.batch_size, varied.sequence_length) == (2, 16)
    small = replace(PROSE, characters=9_000, bytes=9_000)
    nothing = {"data__valid_fraction": 0.0, "data__test_fraction": 0.0}
    assert choose_for(small, **nothing)[0].training.patience is None
    decay = choose_for(PROSE, training__weight_decay=0.1, training__optimizer="adamw")
    assert (decay[0].training.optimizer, decay[0].training.weight_decay) == ("adamw", 0.1)
    own = choose_for(PROSE, data__valid="valid.txt", data__test="test.txt")[1]
    assert own.values.keys().isdisjoint({"data.valid_fraction", "data.test_fraction"})
    beams, searching = choose_for(PROSE, generation__beams=4)
    assert (beams.generation.beams, beams.generation.dry_multiplier) == (4, 0.0)
    assert "generation.dry_multiplier" not in searching.values
    off = choose_for(PROSE, generation__dry_multiplier=0.0)[1]
    assert "generation.dry_allowed_length" not in off.values


@hypothesis_settings(max_examples=80)
@hypothesis_given(
    characters=st.integers(500, 10**9),
    bytes_per_character=st.floats(1.0, 3.0),
    distinct=st.integers(2, 9_000),
    rare=st.floats(0.0, 0.1),
    script=st.sampled_from(["Latin", "CJK", "Hangul", "mixed", "no letters"]),
    compressed=st.floats(0.001, 1.0),
    rate=st.floats(1e9, 1e14),
    minutes=st.floats(0.01, 10_000.0),
    level=st.sampled_from([None, "char", "word", "subword", "byte"]),
)
def test_every_choice_is_valid_fits_the_text_and_has_its_reason(
    characters: int,
    bytes_per_character: float,
    distinct: int,
    rare: float,
    script: str,
    compressed: float,
    rate: float,
    minutes: float,
    level: str | None,
) -> None:
    words = max(characters // 6, 1)
    facts = replace(
        PROSE,
        characters=characters,
        bytes=round(characters * bytes_per_character),
        distinct_characters=distinct,
        common_characters=distinct // 2,
        rare_fraction=rare,
        script=script,
        words=words,
        common_words=words // 50,
        compressed_fraction=compressed,
    )
    given = {} if level is None else {"tokenizer__level": level}
    speed = MachineSpeed("float32", rate, cores=4)
    settings, suggestion = choose_for(facts, minutes, speed, **given)
    assert suggestion.values.keys() == suggestion.reasons.keys()
    assert all(reason and "\n" not in reason for reason in suggestion.reasons.values())
    training = settings.training
    assert 1 <= training.batch_size <= 64
    assert training.sequence_length in (8, 16, 32)
    if level == "char":
        trained_on = characters * (1 - settings.data.valid_fraction - settings.data.test_fraction)
        assert training.batch_size * training.sequence_length <= trained_on / 8


@pytest.mark.parametrize("script", ["Thai", "Lao", "Khmer", "Burmese"])
@pytest.mark.parametrize("size", [10_000, 1_000_000, 100_000_000])
def test_words_are_never_chosen_where_there_are_no_spaces(script: str, size: int) -> None:
    facts = replace(PROSE, script=script, characters=size, bytes=3 * size)
    assert choose_for(facts)[0].tokenizer.level in ("char", "subword", "byte")
