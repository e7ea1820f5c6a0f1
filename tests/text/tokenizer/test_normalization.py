"""Unicode normalization: texts and prompts in one form."""

from __future__ import annotations

import unicodedata

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.text.tokenizer.normalization import explain_forms, find_border
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

SETTINGS = {
    "char": TokenizerSettings(level="char"),
    "byte": TokenizerSettings(level="byte"),
    "word": TokenizerSettings(level="word"),
    "unicode": TokenizerSettings(level="word", word_split="unicode"),
    "subword": TokenizerSettings(level="subword", vocab_size=300),
}
LEVELS = pytest.mark.parametrize("level", [*SETTINGS])
TEXTS = st.text("aeJ\u030c\u0301\u0323é한\u1112\u1161\u11abΑΣİ ﬁＡ①ℌ\n.ǰ\u0dd9\u0dcf", max_size=12)
TRICKY = "한 é ﬁ Ａ J\u030c ℌ ΑΣ İ ①"


def train(level: str, **changes: object) -> Tokenizer:
    """A tokenizer that normalizes, from a text in another form."""
    settings = SETTINGS[level].model_copy(update=changes)
    return Tokenizer.train(settings, [unicodedata.normalize("NFD", TRICKY)], normalize="NFC")


@LEVELS
def test_both_forms_of_a_text_have_the_same_ids(level):
    tokenizer = train(level)
    forms = [
        tokenizer.encode(unicodedata.normalize(form, "한 é")).tolist() for form in ("NFC", "NFD")
    ]
    assert forms[0] == forms[1]
    assert tokenizer.decode(forms[0]) == "한 é"


def test_merges_are_learned_from_the_normal_form():
    tokenizer = Tokenizer.train(SETTINGS["subword"], ["e\u0301 " * 50], normalize="NFC")
    assert tokenizer.encode("é").size == 1


def test_compatible_characters_are_one_in_nfkc():
    tokenizer = Tokenizer.train(SETTINGS["char"], ["fiA"], normalize="NFKC")
    assert tokenizer.decode(tokenizer.encode("ﬁＡ")) == "fiA"


TOKENIZERS = {
    (level, form, lowercase): Tokenizer.train(
        SETTINGS[level].model_copy(update={"lowercase": lowercase}), [TRICKY], normalize=form
    )
    for level in SETTINGS
    for form in ("NFC", "NFKC")
    for lowercase in (False, True)
}
TWINS = {
    key: tokenizers.Tokenizer.from_str(tokenizer.to_json()) for key, tokenizer in TOKENIZERS.items()
}


@pytest.mark.parametrize("key", [*TOKENIZERS])
@given(text=TEXTS)
def test_the_library_gives_the_same_ids(key, text):
    assert TOKENIZERS[key].encode(text).tolist() == TWINS[key].encode(text).ids


@given(text=TEXTS.filter(len), following=TEXTS)
def test_parts_cut_at_a_border_are_normal_if_the_whole_is(text, following):
    cut = find_border(text, following)
    assert 0 < cut <= len(text)
    if cut == len(text) and find_border(text + following) < cut:
        return  # there is no border
    parts = (text + following)[:cut], (text + following)[cut:]
    if unicodedata.category(parts[1][:1] or "a")[0] != "M":
        for form in ("NFC", "NFKC", "NFD"):
            normal = "".join(unicodedata.normalize(form, part) for part in parts)
            assert normal == unicodedata.normalize(form, text + following)


@pytest.mark.parametrize(
    ("text", "following", "cut"),
    [
        ("abc", "", 3),
        ("abe", "\u0301", 2),
        ("ab\u1112\u1161", "\u11ab", 2),
        ("a👩", "\u200d🚀", 1),
        ("か", "\u3099", 1),
    ],
)
def test_a_border_is_before_a_character_with_all_its_marks(text, following, cut):
    assert find_border(text, following) == cut


@pytest.mark.parametrize(
    ("known", "prompt", "message"),
    [
        (
            "\u1112\u1161\u11ab", "a한",
            "한 is U+D55C; the training text has U+1112 U+1161 U+11AB. "
            "Set data.normalize to NFC and train again",
        ),
        (
            "é", "cafe\u0301",
            "e\u0301 is U+0065 U+0301; the training text has U+00E9. "
            "Set data.normalize to NFC and train again",
        ),
        (
            "fi", "ﬁ",
            "ﬁ is U+FB01; the training text has U+0066 U+0069. "
            "Set data.normalize to NFKC and train again",
        ),
    ],
)  # fmt: skip
def test_the_difference_between_forms_is_shown(known, prompt, message):
    tokenizer = Tokenizer.train(SETTINGS["char"], ["acaf" + known])

    def count_unknown(text: str) -> int:
        return int((tokenizer.encode(text) == tokenizer.unk_id).sum())

    assert explain_forms(prompt, count_unknown) == message
    assert explain_forms("xyz", count_unknown) is None
