"""What `prepare_text` makes of words: normal forms, counts, and scripts without spaces."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from llm_timecycle.config.settings import DataSettings, Settings
from llm_timecycle.config.text_settings import Normalization, TokenizerSettings
from llm_timecycle.text.prepare import PreparedText, find_unsuitable_level, prepare_text
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

THAI = "เด็กวิ่งไปที่สะพาน แมวนอนอยู่ใต้ต้นไม้\n" * 20


def prepare(directory: Path, text: str, normalize: Normalization) -> PreparedText:
    """A text in its words, with nothing held out."""
    (directory / "text.txt").write_text(text, encoding="utf-8")
    data = DataSettings(
        train="text.txt", valid_fraction=0.0, test_fraction=0.0, normalize=normalize
    )
    tokenizer = TokenizerSettings(level="word", word_split="unicode")
    settings = Settings(data=data, tokenizer=tokenizer)
    return prepare_text(settings, directory, directory / "cache", show_progress=False)


def test_texts_are_normalized_and_counted_as_they_were(tmp_path):
    text = unicodedata.normalize("NFD", "한글 né\n" * 3)  # 6 + 1 + 3 + 1 characters a line
    plain, normal = (prepare(tmp_path, text, form) for form in ("none", "NFC"))
    for prepared in (plain, normal):
        stream = prepared.train
        assert (stream.characters, stream.words, stream.bytes) == (33, 6, len(text.encode()))
    assert normal.tokenizer.decode(normal.train.ids) == "한글 né\n" * 3
    assert plain.tokenizer.decode(plain.train.ids) == text
    assert plain.tokenizer.unknown_tokens("né") == ["né"]
    assert normal.tokenizer.unknown_tokens("né") == []


@pytest.mark.parametrize(
    ("word_split", "token"), [("whitespace", "a phrase"), ("unicode", "one character")]
)
def test_words_of_a_script_without_spaces_are_a_warning(word_split, token):
    settings = TokenizerSettings(level="word", word_split=word_split)
    warning = find_unsuitable_level(Tokenizer.train(settings, [THAI]))
    assert warning is not None
    assert warning.startswith("Thai has no spaces between words")
    assert f"a token is {token}" in warning
    assert "tokenizer.level: subword" in warning


@pytest.mark.parametrize(
    "text", ["the cat sat\n", THAI[:20] + "but most of it is English\n" * 3, "1\n"]
)
def test_words_of_other_scripts_are_none(text):
    settings = TokenizerSettings(level="word", word_split="unicode")
    assert find_unsuitable_level(Tokenizer.train(settings, [text])) is None


def test_characters_of_thai_are_no_warning():
    assert find_unsuitable_level(Tokenizer.train(TokenizerSettings(level="char"), [THAI])) is None
