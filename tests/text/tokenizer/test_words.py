"""Words of the unicode split: UAX #29, and texts that come back as they were."""

from __future__ import annotations

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.reference.text.words import split_text
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

SETTINGS = TokenizerSettings(level="word", word_split="unicode", vocab_size=1000)
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
ASTRONAUT = "\U0001f469\U0001f3fd\u200d\U0001f680"
FRANCE, GERMANY = "\U0001f1eb\U0001f1f7", "\U0001f1e9\U0001f1ea"

TYPOGRAPHY = [
    "„Ja“, sagte sie, „komm – und bring das Buch mit.“ Er nickte: »Gleich!«\n",
    "« Oui ! » dit-elle\u202f; puis\u00a0: «\u00a0Non\u202f?\u202f»",
    "The dogs' bowls are John's; ’tis late -- isn't it? \"Yes,\" they said (twice).",
    "Hej – sade hon – vad är a - b, eller C#?",
    "    indented by four\n\tand by a tab  with two spaces \n\n\n  end",
    f"{FRANCE}{GERMANY} {ASTRONAUT}, {FAMILY}{FAMILY} ❤️ 1️⃣",
    "کتاب\u200cها روی میز مانده\u200cاند.",
    "The light\xadhouse keeper",
    "צה\"ל, צ'ק ג' \u200fסוף",
    "cafe\u0301 e\u0301\u0323 q\u0307\u0323 \u0301",
    "他说：“你好！”  中 文 OK か\u3099ｶﾞ\u3000中\ufe00",
    "\u1112\u1161\u11ab\u1100\u1173\u11af 한글",
    "เด็กวิ่งไปที่น้ำ ๆ",
    "<eos> <unk>\n<eos>",
]
PIECES = st.sampled_from(
    [
        *"abé5_  \n\t.,:;'\"’·-(„😀©中のアﾞאבก\u0301\u200d\u200c\xad\u200b\u202f\xa0\u3000Ⅳ²٣",
        *(
            FAMILY,
            ASTRONAUT,
            FRANCE,
            FRANCE[0],
            "\u3099",
            "\u200f",
            " " * 15,
            "  ",
            "한\u1100\u1161",
        ),
        *("\U0001f3fd", "\U000e0067", "＿", "．", "\u0e33", "\ufe0f", "\u20e3", "\x00", "ー"),
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


def split(text: str) -> list[str]:
    """The tokens of a text, from the pipeline that tokenizer.json holds."""
    pipeline = tokenizers.Tokenizer.from_str(Tokenizer.train(SETTINGS, []).to_json())
    return [token for token, _ in pipeline.pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The cat sat.", ["The", "cat", "sat", "."]),
        ("Don't stop: it", ["Don't", "stop", ":", " ", "it"]),
        ("U.S. costs 1,000.50", ["U.S", ".", " ", "costs", "1,000.50"]),
        ("at 12:30, a_b e-mail", ["at", "12", ":", "30", ",", " ", "a_b", "e", "-", "mail"]),
        ("f (x) “ok”…", ["f", " (", "x", ")", " “", "ok", "”", "…"]),
        ("a  b\t c \n d", ["a", "  ", "b", "\t ", "c", " ", "\n", " ", "d"]),
        ("a" + " " * 20 + "b", ["a", " " * 16, " " * 4, "b"]),
        ("a" + " " * 20 + "(", ["a", " " * 16, " " * 3, " ("]),
        ("dogs' ’tis", ["dogs", "'", " ’", "tis"]),
        ("中文OK，のだ か\u3099", ["中", "文", "OK", "，", "の", "だ", " ", "か\u3099"]),
        ("ok 中", ["ok", " ", "中"]),
        (f"{FRANCE}{GERMANY}{FRANCE[0]}", [FRANCE, GERMANY, FRANCE[0]]),
        (f"I {ASTRONAUT}{FAMILY} x", ["I", f" {ASTRONAUT}", FAMILY, " ", "x"]),
        ("😴😴 1️⃣ ❤️", ["😴", "😴", " ", "1️⃣", " ❤️"]),
        ("کتاب\u200cها روی", ["کتاب\u200cها", "روی"]),
        ("light\xadhouse", ["light\xadhouse"]),
        ("a\u0301b \u0301", ["a\u0301b", " \u0301"]),
        ('צה"ל צ\'ק ג\' ב', ['צה"ל', "צ'ק", "ג'", "ב"]),
        ("Oui\u202f! mot\u00a0:", ["Oui", "\u202f", "!", " ", "mot", "\u00a0", ":"]),
        ("x²", ["x", "²"]),
        ("ไปที่น้ำ", ["ไ", "ป", "ที่", "น้ำ"]),
        ("한국어를 \u1112\u1161\u11ab", ["한국어를", "\u1112\u1161\u11ab"]),
        ("<eos>", ["<", "eos", ">"]),
    ],
)  # fmt: skip
def test_words_and_what_is_between_them(text, tokens):
    assert split(text) == tokens
    assert split_text(text) == tokens


PIPELINE = tokenizers.Tokenizer.from_str(Tokenizer.train(SETTINGS, []).to_json())


@given(text=TEXTS)
def test_the_rules_read_one_by_one_give_the_same_tokens(text):
    found = [token for token, _ in PIPELINE.pre_tokenizer.pre_tokenize_str(text)]
    assert found == split_text(text)


@pytest.mark.parametrize("text", TYPOGRAPHY)
def test_typography_comes_back_as_it_was(text):
    tokenizer = Tokenizer.train(SETTINGS, [text])
    assert not {tokenizer.unk_id, tokenizer.eos_id} & {*tokenizer.encode(text).tolist()}
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(text=TEXTS)
def test_any_text_comes_back_as_it_was(text):
    tokenizer = Tokenizer.train(SETTINGS, [text])
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizers.Tokenizer.from_str(tokenizer.to_json()).encode(text).ids == ids.tolist()


def test_an_unknown_word_is_shown_in_its_place():
    tokenizer = Tokenizer.train(SETTINGS, ["the cat sat.\n"])
    assert tokenizer.decode(tokenizer.encode("the dog sat.\n")) == "the <unk> sat.\n"


def test_a_line_break_that_the_training_text_lacks_is_unknown():
    tokenizer = Tokenizer.train(SETTINGS, ["the cat"])
    assert tokenizer.encode("the\ncat").tolist() == [3, 0, 2]
    assert tokenizer.unknown_tokens("the\ncat") == ["\n"]
