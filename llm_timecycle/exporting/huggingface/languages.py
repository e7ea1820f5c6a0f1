"""The language of a text, where its script leaves no doubt.

Latin, Cyrillic, Arabic, Hebrew, Devanagari, Bengali and Burmese letters serve several languages, so
they say nothing.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping

from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

BUILT_IN = {"python-docs": "en", "sample-english": "en", "sample-chinese": "zh"}
"""The languages of the texts that come with the program."""
LANGUAGES = {
    **{"HANGUL": "ko", "THAI": "th", "LAO": "lo", "KHMER": "km", "GREEK": "el"},
    **{"GEORGIAN": "ka", "ARMENIAN": "hy", "TAMIL": "ta", "TELUGU": "te", "KANNADA": "kn"},
    **{"MALAYALAM": "ml", "SINHALA": "si", "GUJARATI": "gu"},
}
"""First word of a letter's Unicode name to the only language with books in it (ISO 639-1)."""
SURE_SHARE = 0.95
"""Of the different letters other than Latin ones."""
BYTES_A_CHARACTER = 1.5
"""Of a text in UTF-8 that consists of such letters for the most part; Latin ones have one byte."""
LETTERS_AT_LEAST = 15
MANY_KANA, FEW_KANA = 40, 5
"""Japanese has all of them; a Chinese text may quote a few."""

_HAN, _KANA = "CJK", ("HIRAGANA", "KATAKANA")


def guess_language(
    train: str | list[str], tokenizer: Tokenizer, corpus: Mapping[str, int]
) -> str | None:
    """The ISO 639-1 code of the training text's language; None where it is not certain.

    Args:
        train: `data.train`.
        tokenizer: trained on the text; its vocabulary has the text's letters.
        corpus: characters and bytes of the text.
    """
    if isinstance(train, str) and train in BUILT_IN:
        return BUILT_IN[train]
    characters, size = corpus.get("characters", 0), corpus.get("bytes", 0)
    if not characters or size / characters < BYTES_A_CHARACTER:
        return None
    letters = set("".join(map(tokenizer.token, range(2, tokenizer.vocab_size))))
    return find_language(letters)


def find_language(letters: set[str]) -> str | None:
    """The only language that has these letters, Latin ones aside.

    >>> find_language(set("αβγδεζηθικλμνξοπρστυφχψω abc")), find_language(set("абвгдежзийклмноп"))
    ('el', None)
    """
    names = (unicodedata.name(letter, "?").split()[0] for letter in letters if letter.isalpha())
    scripts = Counter(name for name in names if name != "LATIN")
    total = scripts.total()
    if total < LETTERS_AT_LEAST:
        return None
    kana = sum(scripts[name] for name in _KANA)
    if (scripts[_HAN] + kana) / total >= SURE_SHARE:
        if kana >= MANY_KANA:
            return "ja"
        return "zh" if kana <= FEW_KANA else None
    script, count = scripts.most_common(1)[0]
    return LANGUAGES.get(script) if count / total >= SURE_SHARE else None
