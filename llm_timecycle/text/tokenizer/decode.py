"""Ids to text, one id at a time: each token shows the characters that it completes.

`<eos>` marks the end of a document and adds nothing, except with the whitespace split of words,
where it is a line break. `<unk>` is the word `<unk>` at word level, else U+FFFD, the replacement
character. Bytes that form no character (a model may produce any bytes) become U+FFFD too, one for
each maximal invalid piece, as Unicode recommends.

With the whitespace split, one space joins the words of a line. With the unicode split, one space
joins two words that meet, and all else is a token (see `words`). The space before a word depends
only on the token before it, so a text can be shown as it grows.
"""

from __future__ import annotations

import codecs
from functools import cached_property
from typing import Protocol

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.text.tokenizer.pipelines import (
    BYTE_CHARACTERS,
    END_ID,
    SPECIAL_TOKENS,
    UNKNOWN,
    UNKNOWN_ID,
    Vocabulary,
)
from llm_timecycle.text.tokenizer.words import compile_word_start

REPLACEMENT = "\ufffd"
ESCAPE = "backslashreplace"


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


class LineStream:
    """Each token is a word, with the space before it, or the end of a line."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._is_line_start = True

    def push(self, id: int) -> str:
        """The word, with a space before it unless it begins a line."""
        if id == END_ID:
            self._is_line_start = True
            return "\n"
        space = "" if self._is_line_start else " "
        self._is_line_start = False
        return space + self._texts[id]

    def finish(self) -> str:
        """Nothing is ever left."""
        return ""


class WordStream:
    """Each token is a word or what is between words; a space joins two words that meet."""

    def __init__(self, texts: list[str], are_words: list[bool]) -> None:
        self._texts = texts
        self._are_words = are_words
        self._is_after_word = False

    def push(self, id: int) -> str:
        """The token, with a space before it if it is a word after a word."""
        is_word = self._are_words[id]
        space = " " if is_word and self._is_after_word else ""
        self._is_after_word = is_word
        return space + self._texts[id]

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
            self._texts = [UNKNOWN, "", *ordinary]
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
        if self._settings.word_split == "whitespace":
            return LineStream(self._texts)
        return WordStream(self._texts, self._are_words)

    @cached_property
    def _are_words(self) -> list[bool]:
        begins_word = compile_word_start().match
        return [id == UNKNOWN_ID or bool(begins_word(text)) for id, text in enumerate(self._texts)]

    def show(self, id: int) -> str:
        """One token for display: its text, with control characters and loose bytes as escapes."""
        if id < len(SPECIAL_TOKENS):
            return SPECIAL_TOKENS[id]
        text = self._texts[id] if self._texts else self._bytes[id].decode("utf-8", ESCAPE)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
