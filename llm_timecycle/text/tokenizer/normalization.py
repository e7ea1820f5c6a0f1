"""Unicode normalization: characters that look the same can be different code points.

NFC composes what can be composed (한 is one character), NFD takes it apart (three), and NFKC also
replaces variants, such as full-width letters and ligatures, by the plain characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Literal

from llm_timecycle.config.text_settings import Normalization
from llm_timecycle.text.tokenizer.characters import lower_text

BORDER_SOUGHT = 64
FORMS: tuple[Literal["NFC", "NFD", "NFKC"], ...] = ("NFC", "NFD", "NFKC")


def unify_text(text: str, normalize: Normalization, lowercase: bool) -> str:
    """The text as the tokens see it: in one Unicode normalization form, in lower case, or as it is.

    What lower case makes of a normal text need not be normal, so it is normalized once more.
    """
    if normalize != "none":
        text = unicodedata.normalize(normalize, text)
    if lowercase:
        text = lower_text(text)
        if normalize != "none":
            text = unicodedata.normalize(normalize, text)
    return text


def find_border(text: str, following: str = "") -> int:
    """The last position where a text can be cut so that its parts are normal if the whole is.

    No mark is cut off from the character before it, and Hangul letters stay together. Where there
    is no such position among the last `BORDER_SOUGHT`, it is the end of the text.

    Args:
        following: what comes after the text.

    >>> find_border("abcd"), find_border("abcd", "\u0301")
    (4, 3)
    """
    start = max(len(text) - BORDER_SOUGHT, 0)
    whole = text[start:] + following[:BORDER_SOUGHT]
    for position in range(len(text) - start, 0, -1):
        parts = whole[:position], whole[position:]
        begins_with_mark = unicodedata.category(parts[1][:1] or "a") in ("Mn", "Mc", "Me", "Cf")
        if not begins_with_mark and all(
            "".join(unicodedata.normalize(form, part) for part in parts)
            == unicodedata.normalize(form, whole)
            for form in FORMS
        ):
            return start + position
    return len(text)


def explain_forms(text: str, count_unknown: Callable[[str], int]) -> str | None:
    """What differs where the training text has the characters of a prompt in another form.

    Args:
        text: the prompt.
        count_unknown: the number of unknown tokens of a text.

    Returns None if no other form of the text has fewer unknown tokens.
    """
    others = [unicodedata.normalize(form, text) for form in FORMS]
    other = min(others, key=count_unknown)
    if count_unknown(other) >= count_unknown(text):
        return None
    form = FORMS[others.index(other)]
    start = next(i for i in range(len(text)) if text[i] != other[i : i + 1])
    for stop in range(start + 1, len(text) + 1):
        meant = unicodedata.normalize(form, text[start:stop])
        if text[:start] + meant + unicodedata.normalize(form, text[stop:]) == other:
            break
    advice = "NFKC" if form == "NFKC" else "NFC"
    return (
        f"{text[start:stop]} is {_list_code_points(text[start:stop])}; the training text has "
        f"{_list_code_points(meant)}. Set data.normalize to {advice} and train again"
    )


def _list_code_points(text: str) -> str:
    return " ".join(f"U+{ord(character):04X}" for character in text)
