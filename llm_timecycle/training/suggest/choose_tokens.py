"""What depends on the text alone: its tokens, what is held out, and the lanes that fit."""

from __future__ import annotations

from llm_timecycle.config.validation import BYTE_VOCABULARY
from llm_timecycle.text.short_text import fit_lanes
from llm_timecycle.text.survey import COMMON_FROM, TextFacts
from llm_timecycle.training.suggest import calibration as c
from llm_timecycle.training.suggest.choices import Choices, write_count

SPECIAL_TOKENS = 2
NONE_HELD_OUT = "none: so short a text is all needed"
MEGABYTE = 1_000_000
CHARACTER_SCRIPTS = {"CJK", "Hangul"}
"""Scripts in which a character says as much as part of a word does elsewhere."""


def choose_tokenizer(facts: TextFacts, choices: Choices) -> None:
    """`tokenizer.level`, `vocab_size` and `word_split`."""
    level = choices.choose("tokenizer.level", *_pick_level(facts))
    if level == "word":
        choices.choose(
            "tokenizer.word_split", "unicode", "punctuation is not part of the word before it"
        )
    if _has_word_characters(facts, choices):
        level = "char"
    choices.choose("tokenizer.vocab_size", *_pick_vocabulary(level, facts))


def _has_word_characters(facts: TextFacts, choices: Choices) -> bool:
    """Whether the tokens of the level `word` are the characters: each Han or Kana character is."""
    is_word = choices.read("tokenizer.level") == "word"
    return is_word and facts.script == "CJK" and choices.read("tokenizer.word_split") == "unicode"


def _pick_level(facts: TextFacts) -> tuple[str, str]:
    size = f"{facts.bytes / MEGABYTE:,.2f} MB"
    if facts.script in CHARACTER_SCRIPTS:
        return "char", f"{facts.script} text: a character is a word, or part of one"
    if (
        facts.distinct_characters > c.MIXED_CHARACTERS
        and facts.rare_fraction > c.MIXED_RARE_FRACTION
    ):
        return "byte", (
            f"{facts.distinct_characters:,} different characters, "
            f"{100 * facts.rare_fraction:.1f}% of the text in rare ones; bytes miss none"
        )
    if facts.bytes >= c.SUBWORD_BYTES:
        return "subword", f"{size}: tokens of several characters get further in a large text"
    return (
        "char",
        f"{size} is little text: its {facts.distinct_characters:,} characters repeat most",
    )


def _pick_vocabulary(level: str, facts: TextFacts) -> tuple[int, str]:
    if level == "byte":
        return BYTE_VOCABULARY, "256 bytes and 2 special tokens"
    if level == "subword":
        sizes = (size for most, size in c.SUBWORD_VOCABULARY if facts.bytes <= most)
        size = next(sizes, c.SUBWORD_VOCABULARY_ABOVE)
        return size, f"suits {facts.bytes / MEGABYTE:,.2f} MB: each is seen often enough"
    if level == "word":
        words = facts.common_words + SPECIAL_TOKENS
        size = max(SPECIAL_TOKENS + 1, min(words, c.WORDS_AT_MOST))
        return size, f"at most {c.WORDS_AT_MOST:,}, and only words that occur {COMMON_FROM} times"
    if facts.distinct_characters <= c.MIXED_CHARACTERS:
        return facts.distinct_characters + SPECIAL_TOKENS, "all characters, and 2 special tokens"
    characters = facts.common_characters + SPECIAL_TOKENS
    return max(SPECIAL_TOKENS + 1, min(characters, c.CHARACTERS_AT_MOST)), (
        f"of {facts.distinct_characters:,} characters, those that occur {COMMON_FROM} times or more"
    )


def choose_held_out(facts: TextFacts, choices: Choices) -> None:
    """`data.valid_fraction` and `data.test_fraction`, where no text of their own is given."""
    least, most = c.HELD_OUT_CHARACTERS
    fraction = min(max(c.HELD_OUT_FRACTION, least / facts.characters), 2 * c.HELD_OUT_FRACTION)
    fraction = float(f"{min(fraction, most / facts.characters):.2g}")
    if facts.characters < c.SHORTEST_TEXT:
        fraction = 0.0
    data = choices.fixed.data
    held_out = f"{facts.characters * fraction:,.0f} characters"
    if data.valid is None:
        choices.choose(
            "data.valid_fraction",
            fraction,
            f"{held_out} to choose the best weights by" if fraction else NONE_HELD_OUT,
        )
    if data.test is None:
        is_short = facts.characters < c.TEST_FROM_CHARACTERS
        choices.choose(
            "data.test_fraction",
            0.0 if is_short else fraction,
            NONE_HELD_OUT if is_short else f"{held_out} for a final score",
        )


def count_training_tokens(facts: TextFacts, choices: Choices) -> int:
    """Estimated tokens of the training text, without what is held out of it."""
    level = choices.read("tokenizer.level")
    if _has_word_characters(facts, choices):
        level = "char"
    tokens = {
        "char": facts.characters,
        "byte": facts.bytes,
        "word": facts.words * c.TOKENS_PER_WORD[choices.read("tokenizer.word_split")],
        "subword": facts.bytes / c.BYTES_PER_SUBWORD,
    }[level]
    data = choices.fixed.data
    held_out = choices.read("data.valid_fraction") if data.valid is None else 0.0
    held_out += choices.read("data.test_fraction") if data.test is None else 0.0
    return max(1, round(tokens * (1 - held_out)))


def choose_lanes(tokens: int, choices: Choices) -> None:
    """`training.batch_size` and `sequence_length`, so that each lane has several windows.

    Args:
        tokens: of the training text.
    """
    B, T = c.BATCH_SIZE, c.SEQUENCE_LENGTH[choices.read("tokenizer.level")]
    paths = ("training.batch_size", "training.sequence_length")
    if is_fixed_B := paths[0] in choices.given:
        B = choices.read(paths[0])
    if is_fixed_T := paths[1] in choices.given:
        T = choices.read(paths[1])
    B, T = fit_lanes(
        tokens,
        B,
        T,
        keeps_lanes=is_fixed_B,
        keeps_window=is_fixed_T,
        is_varied=choices.fixed.training.vary_sequence_length,
    )
    is_short = B < c.BATCH_SIZE
    choices.choose(
        paths[0],
        B,
        f"so that each lane has {write_count(tokens // (B * T), 'window')}"
        if is_short
        else "fewer would use this machine less well",
    )
    choices.choose(
        paths[1], T, "short windows make more steps, which learn more than fewer long ones"
    )
