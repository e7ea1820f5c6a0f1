"""Ids to text, one id at a time: each token shows the characters that it completes.

`<eos>` is a line break at word level; at the other levels it marks the end of a document and adds
nothing. `<unk>` is the word `<unk>` at word level, else U+FFFD, the replacement character. Bytes
that form no character (a model may produce any bytes) become U+FFFD too, one for each maximal
invalid piece, as Unicode recommends.

At word level, words are joined again. With the whitespace split, one space joins them, and `<eos>`
is a line break without spaces around it. With the unicode split, punctuation follows the rules of
careful typing:

    no space    at the start of a line
                before closing punctuation: . , ; : ! ? ) ] } % and the like
                after opening punctuation: ( [ { $ # and the like
                on either side of - / and the like
                beside a Han or Kana character, or full-width punctuation
    " ' `       alternately open and close on a line: no space on their inner side
    one space   everywhere else

The space before a token depends only on the tokens before it, so a text can be shown as it grows.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Protocol

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.text.tokenizer.characters import FULL_WIDTH_MARKS, HAN, KANA
from llm_timecycle.text.tokenizer.pipelines import BYTE_CHARACTERS, END, SPECIAL_TOKENS, Vocabulary

REPLACEMENT = "\ufffd"
ESCAPE = "backslashreplace"
CLOSING = frozenset(".,;:!?)]}%‰°…”’»›‼⁇⁈⁉")
OPENING = frozenset("([{“‘«‹„‚$#£€¥¿¡")
JOINING = frozenset("-/\\@‐‑–—―·\u200c\u200d")
QUOTES = frozenset("\"'`")

_WIDE = re.compile(f"[{HAN}{KANA}{FULL_WIDTH_MARKS}]")


class TextStream(Protocol):
    """Text as it grows: joined, the results of all pushes and of `finish` are the decoded text."""

    def push(self, id: int) -> str:
        """The text that token `id` completes; never half a character."""

    def finish(self) -> str:
        """The text still held back when no more tokens follow."""


class CharacterStream:
    """Each token is a character."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def push(self, id: int) -> str:
        """The character."""
        return self._texts[id]

    def finish(self) -> str:
        """Nothing is ever left."""
        return ""


class ByteStream:
    """Each token is one or more bytes; bytes of an incomplete character wait for the rest."""

    def __init__(self, texts: list[bytes]) -> None:
        self._texts = texts
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """The characters that the token completes."""
        return self._decoder.decode(self._texts[id])

    def finish(self) -> str:
        """The replacement character, if a character is incomplete."""
        return self._decoder.decode(b"", final=True)


class WordStream:
    """Each token is a word or a punctuation mark, with the space before it."""

    def __init__(self, texts: list[str], joiner: WordJoiner | MarkJoiner) -> None:
        self._texts = texts
        self._joiner = joiner

    def push(self, id: int) -> str:
        """The word, with a space before it if one belongs there."""
        return self._joiner.add(self._texts[id])

    def finish(self) -> str:
        """Nothing is ever left."""
        return ""


class Decoder:
    """The text of each token of a vocabulary; makes the streams that decode."""

    def __init__(self, settings: TokenizerSettings, vocabulary: Vocabulary) -> None:
        self._settings = settings
        self._texts: list[str] = []
        self._bytes: list[bytes] = []
        ordinary = vocabulary.tokens[len(SPECIAL_TOKENS) :]
        if settings.level == "word":
            self._texts = list(vocabulary.tokens)
        elif settings.level == "char":
            self._texts = [REPLACEMENT, "", *ordinary]
        else:
            values = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}
            spelt = [bytes(values[character] for character in token) for token in ordinary]
            self._bytes = [REPLACEMENT.encode(), b"", *spelt]

    def stream(self) -> TextStream:
        """A new text, empty so far."""
        if self._settings.level == "char":
            return CharacterStream(self._texts)
        if self._settings.level != "word":
            return ByteStream(self._bytes)
        is_whitespace = self._settings.word_split == "whitespace"
        return WordStream(self._texts, WordJoiner() if is_whitespace else MarkJoiner())

    def show(self, id: int) -> str:
        """One token for display: its text, with control characters and loose bytes as escapes."""
        if id < len(SPECIAL_TOKENS):
            return SPECIAL_TOKENS[id]
        text = self._texts[id] if self._texts else self._bytes[id].decode("utf-8", ESCAPE)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class WordJoiner:
    """Joins the words of the whitespace split, one at a time."""

    def __init__(self) -> None:
        self._is_line_start = True

    def add(self, word: str) -> str:
        """The text that the next word adds."""
        if word == END:
            self._is_line_start = True
            return "\n"
        space = "" if self._is_line_start else " "
        self._is_line_start = False
        return space + word


class MarkJoiner:
    """Joins the words and marks of the unicode split, one at a time."""

    def __init__(self) -> None:
        self._is_glued = True  # no space between the last token and the next
        self._open_quotes: frozenset[str] = frozenset()

    def add(self, word: str) -> str:
        """The text that the next word or mark adds."""
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
