"""Twin of `llm_timecycle.text.tokenizer.words`: the rules of UAX #29, one at a time.

Source: Unicode Standard Annex #29, Unicode Text Segmentation, section 4.1.1, Word Boundary Rules,
with the exceptions that the twin lists. Letters are told by their general category, so a few signs
that count as letters (ALetter) but have another category are not known here.
"""

from __future__ import annotations

import unicodedata

MARK = "Mark"  # Extend or Format
ZWJ = "ZWJ"
WORD = {"ALetter", "Hebrew_Letter", "Numeric", "ExtendNumLet"}
LETTER = {"ALetter", "Hebrew_Letter"}
SINGLE = {"Han", "LF"}
MID = {
    **dict.fromkeys("·\u0387\u055f\u05f4\u2027", "MidLetter"),
    **dict.fromkeys(",;\u037e\u0589\u060c\u060d\u066c\u07f8\u2044\uff0c\uff1b", "MidNum"),
    **dict.fromkeys(".\u2018\u2019\u2024\ufe52\uff07\uff0e", "MidNumLet"),
    "'": "Single_Quote",
    '"': "Double_Quote",
}
MID_LETTER = {"MidLetter", "MidNumLet", "Single_Quote"}
MID_NUMBER = {"MidNum", "MidNumLet", "Single_Quote"}
UNSPACED = ("THAI", "LAO", "KHMER", "MYANMAR")
EMOJI = [
    (0x2600, 0x2605),
    (0x2607, 0x2612),
    (0x2614, 0x2685),
    (0x1F300, 0x1F3FA),
    (0x1F400, 0x1F53D),
]
EMOJI += [
    (0xA9, 0xA9),
    (0x1F600, 0x1F64F),
    (0x1F680, 0x1F6FF),
    (0x1F900, 0x1F90B),
    (0x1F90C, 0x1F93A),
]
"""Blocks of Extended_Pictographic; not all of it."""


def classify(character: str) -> str:
    """The Word_Break property of a character, "Other" if it has none; "Han" also for Kana.

    >>> [classify(character) for character in "a5_ 中,"]
    ['ALetter', 'Numeric', 'ExtendNumLet', 'Blank', 'Han', 'MidNum']
    """
    name = unicodedata.name(character, "")
    category = unicodedata.category(character)
    if character == "\n":
        return "LF"
    if character.isspace():
        return "Blank"
    if character in MID:
        return MID[character]
    if character == "\u200d":
        return ZWJ
    is_modifier = "\U0001f3fb" <= character <= "\U0001f3ff"
    if (
        category in ("Mn", "Mc", "Me")
        or is_modifier
        or character in "\u200c\u0e33\u0eb3\uff9e\uff9f"
    ):
        return MARK
    if category == "Cf" and not name.startswith(("ARABIC NUMBER", "ZERO WIDTH SPACE")):
        return MARK
    if category == "Nd" or name.startswith("ARABIC NUMBER"):
        return "Numeric"
    if category == "Pc":
        return "ExtendNumLet"
    if name.startswith(("CJK UNIFIED", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA LETTER")):
        return "Han"
    if name.startswith("REGIONAL INDICATOR"):
        return "Regional_Indicator"
    if category[0] == "L" and name.startswith("HEBREW LETTER"):
        return "Hebrew_Letter"
    if (category[0] == "L" or category == "Nl") and not name.startswith(UNSPACED):
        return "ALetter"
    return "Other"


def is_boundary(text: str, position: int) -> bool:
    """Whether a word or a cluster ends before `text[position]`, 0 < position < len(text).

    >>> [is_boundary("it's", 2), is_boundary("it' ", 2)]
    [False, True]
    """
    classes = [classify(character) for character in text]
    left, right = classes[position - 1], classes[position]
    if "LF" in (left, right):  # WB3a, WB3b
        return True
    # WB4: a character keeps the marks after it, and the rules see it without them.
    if right in (MARK, ZWJ):
        return False
    bases = [at for at in range(position) if classes[at] not in (MARK, ZWJ)]
    if not bases or "\n" in text[bases[-1] : position]:
        base = before = "Other"
        pair = 0
    else:
        line = text.rfind("\n", 0, position) + 1
        seen = [classes[at] for at in bases if at >= line] or ["Other"]
        base, before = seen[-1], seen[-2] if len(seen) > 1 else "Other"
        pair = len(seen) - len(_strip_end(seen, "Regional_Indicator"))
    after = next((c for c in classes[position + 1 :] if c not in (MARK, ZWJ)), "Other")
    is_emoji = any(first <= ord(text[position]) <= last for first, last in EMOJI)
    if left == ZWJ and is_emoji and base not in WORD | {"Han"}:  # WB3c
        return False
    if left == right == "Blank":  # WB3d, for all white space
        return False
    if base in WORD and right in WORD:  # WB5, WB8 to WB10, WB13a, WB13b
        return False
    if base in LETTER and right in MID_LETTER and after in LETTER:  # WB6
        return False
    if before in LETTER and base in MID_LETTER and right in LETTER:  # WB7
        return False
    if (
        base == "Hebrew_Letter"
        and right == "Single_Quote"
        and after not in ("Numeric", "ExtendNumLet")
    ):
        return False  # WB7a
    if base == "Hebrew_Letter" and right == "Double_Quote" and after == "Hebrew_Letter":  # WB7b
        return False
    if before == "Hebrew_Letter" and base == "Double_Quote" and right == "Hebrew_Letter":  # WB7c
        return False
    if base == "Numeric" and right in MID_NUMBER and after == "Numeric":  # WB12
        return False
    if before == "Numeric" and base in MID_NUMBER and right == "Numeric":  # WB11
        return False
    return not (base == right == "Regional_Indicator" and pair % 2 == 1)  # WB15, WB16; WB999


def split_text(text: str, blanks_at_most: int = 16) -> list[str]:
    """The tokens of a text.

    >>> split_text("It's 3.5, no?")
    ["It's", '3.5', ',', ' ', 'no', '?']
    """
    segments: list[str] = []
    for position in range(len(text)):
        if position > 0 and not is_boundary(text, position):
            segments[-1] += text[position]
        else:
            segments.append(text[position])
    tokens: list[str] = []
    pending = ""  # white space that the next segment may take from
    for segment in [*segments, "\n"]:
        blank = segment[: len(segment) - len(segment.lstrip())] if segment != "\n" else ""
        if blank:
            marks = segment[len(blank) :]
            keeps_space = marks and blank.endswith(" ")
            run = blank[:-1] if keeps_space else blank
            if not marks:
                pending = run
                continue
            tokens += _cut(run, blanks_at_most)
            if keeps_space:
                tokens.append(" " + marks)
            else:
                tokens[-1] += marks
            continue
        kind = classify(segment[0])
        is_word = kind in WORD
        if pending == " " and is_word and tokens and classify(tokens[-1][0]) in WORD:
            pending = ""
        takes_space = pending.endswith(" ") and not is_word and kind not in SINGLE
        tokens += _cut(pending[:-1] if takes_space else pending, blanks_at_most)
        tokens.append(" " + segment if takes_space else segment)
        pending = ""
    return tokens[:-1]


def _cut(run: str, size: int) -> list[str]:
    return [run[start : start + size] for start in range(0, len(run), size)]


def _strip_end(items: list[str], item: str) -> list[str]:
    while items and items[-1] == item:
        items = items[:-1]
    return items
