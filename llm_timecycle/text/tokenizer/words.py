"""Words of the unicode split, as one regular expression of the `tokenizers` library.

The tokens of a text are its words, and everything between them:

    "the", "1,000"      a word or number
    ",", " („", "🇫🇷"    any other cluster of characters: a punctuation mark, a symbol, an emoji, a
                        flag; with the space before it if there is one
    "中", "の"          a Han or Kana character
    "\\n"               a line break
    "    ", "\\t"       other white space, up to 16 characters

except the single space between two words, which is no token: two words that meet always have it.
So the tokens give the text back exactly, and no word is in the vocabulary twice, with a space and
without one.

Where words and clusters end is decided by UAX #29, Unicode Text Segmentation (rules WB3 to WB999).
Marks, joiners and format characters are never cut off from the character before. Flags are pairs.
An emoji sequence stays whole. A full stop or an apostrophe between two letters is part of the word,
a full stop or a comma between two digits part of the number. Where this differs from the standard:

    Han, Kana      one character a token; the standard keeps Katakana together
    colon          never inside a word, as in ICU; the standard allows it for Swedish
    U+202F         white space, as in French; the standard joins words with it, as in Mongolian
    Hebrew         a geresh before a digit is not part of the word
    ZWJ            keeps an emoji with a symbol before it, but not with a word
    U+0E33 U+0EB3  stay with the Thai or Lao letter before, as in a grapheme cluster

In Thai, Lao, Khmer and Burmese, words cannot be told without a dictionary; there each cluster is a
token, as in the standard.
"""

from __future__ import annotations

import re
from functools import cache

from tokenizers import Regex, pre_tokenizers

from llm_timecycle.text.tokenizer.characters import BLANK, HAN, KANA, WHITE_SPACE

BLANKS_AT_MOST = 16
"""The longest run of white space in one token."""

_NUMBER_SIGNS = "\u0600-\u0605\u06dd\u0890\u0891\u08e2\U000110bd\U000110cd"
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"
    "\U00011700-\U0001174f"
)
_EXTENDING = "\u200c\uff9e\uff9f\u0e33\u0eb3\U0001f3fb-\U0001f3ff"

# Extend, Format and ZWJ
_MARK = f"[\\p{{M}}\\p{{Cf}}{_EXTENDING}&&[^\u200b\u070f{_NUMBER_SIGNS}]]"
# ALetter and Hebrew_Letter
_LETTER = (
    "[\\p{Alphabetic}\u02c2-\u02c5\u02d2-\u02d7\u02de\u02df\u02e5-\u02eb\u02ed\u02ef-\u02ff\u055a-\u055c"
    "\u055e\u058a\u05f3\u070f\ua708-\ua716\ua720\ua721\ua789\ua78a\uab5b&&[^\\p{M}\\p{Ideographic}"
    f"\\p{{Hiragana}}\\p{{Katakana}}{HAN}{KANA}\u3031-\u3035{_EXTENDING}{_UNSPACED}]]"
)
_HEBREW = "[\\p{Hebrew}&&\\p{Lo}]"
_DIGIT = f"[\\p{{Nd}}\u066b{_NUMBER_SIGNS}]"
_LOW_LINE = "\\p{Pc}"  # ExtendNumLet
_MID_LETTER = "['.\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe52\uff07\uff0e]"
_MID_NUMBER = (
    "['.,;\u037e\u0589\u060c\u060d\u066c\u07f8\u2018\u2019\u2024\u2044\ufe10\ufe14\ufe50\ufe52"
    "\ufe54\uff07\uff0c\uff0e\uff1b]"
)
_IN_WORD = f"[{_LETTER}{_DIGIT}{_LOW_LINE}]"

_M = f"{_MARK}*"  # WB4
_MID_WORD = f"{_MID_LETTER}{_M}(?={_LETTER})"  # WB6, WB7
_GERESH = f"'(?!{_M}[{_DIGIT}{_LOW_LINE}]){_M}"  # WB7a
_GERSHAYIM = f'"{_M}(?={_HEBREW})'  # WB7b, WB7c
_WORD = (  # WB5, WB8 to WB10, WB13a, WB13b
    f"(?:{_HEBREW}{_M}(?:{_MID_WORD}|{_GERESH}|{_GERSHAYIM})?"
    f"|{_LETTER}{_M}(?:{_MID_WORD})?"
    f"|{_DIGIT}{_M}(?:{_MID_NUMBER}{_M}(?={_DIGIT}))?"  # WB11, WB12
    f"|{_LOW_LINE}{_M})+"
)
_SYMBOL = f"[^{WHITE_SPACE}{HAN}{KANA}{_IN_WORD}]"
_FLAG = f"\\p{{Regional_Indicator}}{_M}\\p{{Regional_Indicator}}"  # WB15, WB16
_JOINED = f"{_M}(?:(?<=\u200d)(?!{_IN_WORD})\\p{{Extended_Pictographic}}{_M})*"  # WB3c

TOKEN = (
    f"{_WORD}(?: (?={_IN_WORD}))?"
    f"| ?(?:{_FLAG}|{_SYMBOL}){_JOINED}"
    f"|[{HAN}{KANA}]{_M}"
    "|\n"
    f"|[{BLANK}]{{1,{BLANKS_AT_MOST}}}(?= {_SYMBOL})"
    f"|[{BLANK}]{{1,{BLANKS_AT_MOST}}}{_JOINED}"
)
"""Every token, in the syntax of Oniguruma; a word with the space between it and the next word."""
SPACE_AFTER_WORD = f"(?<=[^{WHITE_SPACE}]) \\z"
"""That space."""

# All of _MARK, and of what else has no place directly after a Han character.
_PERHAPS_MARKS = (
    "\xad\u0300-\u036f\u0483-\u1fff\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff\u2cef-\u2cf1"
    "\u2d7f-\u2dff\u302a-\u302f\u3099\u309a\ua66f-\uabff\ufb1e\ufe00-\ufe2f\ufeff\uff9e\uff9f\ufff0-\uffff"
    "\U00010000-\U0001ffff\U000e0000-\U000fffff"
)


def complete_piece(piece: str) -> str:
    """A piece, followed by a word of one letter if it ends in a space, as most such pieces are.

    The tokens of the piece are those of the result, without that last word.
    """
    return f"{piece}a" if piece.endswith(" ") else piece


@cache
def compile_word_start() -> re.Pattern[str]:
    """A pattern for a character that begins a word: a letter, a digit or a low line."""
    # Above these planes there are only Han characters and marks.
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x20000)]))
    find = pre_tokenizers.Split(Regex(f"{_IN_WORD}+"), "removed", invert=True).pre_tokenize_str
    return re.compile("[" + "".join(f"{run[0]}-{run[-1]}" for run, _ in find(everything)) + "]")


@cache
def compile_piece() -> re.Pattern[str]:
    """A pattern for pieces of text whose borders no token crosses.

    Where a piece ends in a space, `complete_piece` tells its tokens.
    """
    visible, wide = f"[^{WHITE_SPACE}{HAN}{KANA}]", f"[{HAN}{KANA}]"
    marked = f"{wide}(?:[{_PERHAPS_MARKS}]{visible}*)?"
    space = f"(?: (?={compile_word_start().pattern}))?"
    return re.compile(
        f"{visible}+{space}|{wide}(?![{_PERHAPS_MARKS} ])|{marked}{space}"
        f"|\n|[{BLANK}]+(?:(?:{visible}+|{marked}){space})?"
    )
