"""What a survey finds in texts of each kind, by hand-counted facts."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Literal

import pytest

from llm_timecycle.config.text_settings import DataSettings
from llm_timecycle.errors import DataError
from llm_timecycle.text import survey
from llm_timecycle.text.corpus import open_corpus
from llm_timecycle.text.survey import TextFacts, survey_text


def look_at(place: Path, text: str) -> TextFacts:
    (place / "text.txt").write_text(text, encoding="utf-8")
    return survey_text(open_corpus("text.txt", place, place))


def test_facts_counted_by_hand(tmp_path: Path) -> None:
    facts = look_at(tmp_path, "a b a\n\nb a é\n")
    # characters: a 3, b 2, é 1, space 4, line feed 3; words: a 3, b 2, é 1
    assert (facts.characters, facts.bytes, facts.lines) == (13, 14, 2)
    assert (facts.distinct_characters, facts.common_characters) == (5, 3)
    assert facts.rare_fraction == pytest.approx(3 / 13)
    assert (facts.words, facts.distinct_words, facts.common_words) == (6, 3, 1)
    assert (facts.script, facts.sampled_fraction) == ("Latin", 1.0)


@pytest.mark.parametrize("documents", ["line", "paragraph"])
def test_documents_that_follow_one_another_are_not_one_word(
    tmp_path: Path, documents: Literal["line", "paragraph"]
) -> None:
    gap = "\n" if documents == "line" else "\n\n"
    (tmp_path / "text.txt").write_text(f"a b{gap}b a é", encoding="utf-8")
    how = DataSettings(documents=documents)
    facts = survey_text(open_corpus("text.txt", tmp_path, tmp_path, how=how))
    assert (facts.words, facts.distinct_words, facts.common_words) == (5, 3, 0)
    assert (facts.lines, facts.documents) == (2, 2)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("plain words, 123\n", "Latin"),
        ("天地玄黄，宇宙洪荒。\n", "CJK"),
        ("これは日本語の文章です。カタカナも。\n", "CJK"),
        ("Привет, мир\n", "Cyrillic"),
        ("안녕하세요\n", "Hangul"),
        ("แมวนอน\n", "Thai"),
        ("ແມວນອນ\n", "Lao"),
        ("ឆ្មាដេក\n", "Khmer"),
        ("ကြောင်အိပ်\n", "Burmese"),
        ("abc где 天地玄\n", "mixed"),
        ("1 + 2 = 3\n", "no letters"),
    ],
)
def test_scripts(tmp_path: Path, text: str, script: str) -> None:
    assert look_at(tmp_path, text).script == script


def test_repetition_is_what_zlib_finds(tmp_path: Path) -> None:
    once = "".join(random.Random(1).choices("etaoinshrdlu ", k=2_000))
    assert look_at(tmp_path, once).compressed_fraction > 0.3
    assert look_at(tmp_path, once * 10).compressed_fraction < 0.1


def test_a_large_text_is_sampled_all_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "SAMPLE_CHARACTERS", 1_600)
    lines = [f"line {n:05}\n" for n in range(1_000)]
    lines[0], lines[-1] = "first α   \n", "last ω    \n"
    facts = look_at(tmp_path, "".join(lines))
    assert facts.characters == 11_000
    assert facts.sampled_fraction == pytest.approx(1_600 / facts.characters)
    assert facts.lines == pytest.approx(1_000, rel=0.1)
    assert facts.words == pytest.approx(2_000, rel=0.1)
    assert facts.bytes == pytest.approx(facts.characters, rel=0.01)
    assert facts.distinct_characters == len(set("line 0123456789\nfirst α last ω"))


def test_compressed_files_and_several_count_as_their_content(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one two\n" * 10))
    (tmp_path / "b.txt").write_text("three\n")
    facts = survey_text(open_corpus(".", tmp_path, tmp_path))
    assert (facts.characters, facts.words) == (86, 21)


def test_a_text_without_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"text\.txt holds nothing but white space"):
        look_at(tmp_path, "\n \t\n" * 300)
