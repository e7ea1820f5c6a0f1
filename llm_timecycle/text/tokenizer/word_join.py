"""How words become text again.

With the whitespace split, words are joined by one space, and `<eos>` is a line break with no space
around it. With the unicode split there are also marks, and the rule is that of careful typing:

    no space    at the start of a line
                before closing marks: . , ; : ! ? ) ] } % and their like
                after opening marks: ( [ { $ # and their like
                on either side of - / and their like
                beside a Han or Kana character, or a full-width mark
    " ' `       open and close in turn on a line: no space on their inner side
    one space   everywhere else

The space before a token depends on the tokens before it only, so that a text can be shown as it
is made, and shows what joining it at the end would give.
"""

from __future__ import annotations

import re
import unicodedata

from llm_timecycle.text.tokenizer.characters import FULL_WIDTH_MARKS, HAN, KANA
from llm_timecycle.text.tokenizer.pipelines import END

CLOSING = frozenset(".,;:!?)]}%‰°…”’»›‼⁇⁈⁉")
OPENING = frozenset("([{“‘«‹„‚$#£€¥¿¡")
JOINING = frozenset("-/\\@‐‑–—―·\u200c\u200d")
QUOTES = frozenset("\"'`")

_WIDE = re.compile(f"[{HAN}{KANA}{FULL_WIDTH_MARKS}]")


class WordJoiner:
    """Joins the words of the whitespace split, one at a time."""

    def __init__(self) -> None:
        self._is_line_start = True

    def add(self, word: str) -> str:
        """What the next word adds to the text."""
        if word == END:
            self._is_line_start = True
            return "\n"
        space = "" if self._is_line_start else " "
        self._is_line_start = False
        return space + word


class MarkJoiner:
    """Joins the words and marks of the unicode split, one at a time."""

    def __init__(self) -> None:
        self._is_glued = True  # nothing comes between the last token and the next
        self._open_quotes: frozenset[str] = frozenset()

    def add(self, word: str) -> str:
        """What the next word or mark adds to the text."""
        if word == END:
            self._is_glued, self._open_quotes = True, frozenset()
            return "\n"
        is_wide = _WIDE.match(word) is not None
        closes = word in CLOSING or unicodedata.category(word[0]).startswith("M")
        opens = word in OPENING
        if word in QUOTES:
            closes, opens = word in self._open_quotes, word not in self._open_quotes
            self._open_quotes ^= {word}
        joins = is_wide or word in JOINING
        space = "" if self._is_glued or joins or closes else " "
        self._is_glued = joins or opens
        return space + word
