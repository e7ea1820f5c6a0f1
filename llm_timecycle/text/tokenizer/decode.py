"""Ids to text, one id at a time: what a token adds to the text as soon as it is whole.

`<eos>` is a line break at word level; at the other levels it marks the end of a document and adds
nothing. `<unk>` is the word `<unk>` at word level, else U+FFFD, the replacement character. Bytes
that form no character (a model may produce any bytes) become U+FFFD too, one for each longest
piece of a character, as Unicode recommends.
"""

from __future__ import annotations

import codecs
from typing import Protocol

from llm_timecycle.config.settings import TokenizerSettings
from llm_timecycle.text.tokenizer.pipelines import BYTE_CHARACTERS, SPECIAL_TOKENS, Vocabulary
from llm_timecycle.text.tokenizer.word_join import MarkJoiner, WordJoiner

REPLACEMENT = "\ufffd"
ESCAPE = "backslashreplace"


class TextStream(Protocol):
    """Text as it grows. What all pushes and `finish` return is, joined, the decoded text."""

    def push(self, id: int) -> str:
        """The text that is certain once token `id` has come; never half a character."""

    def finish(self) -> str:
        """What is left when no more tokens come."""


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
    """Each token is one or more bytes; those of an unfinished character wait for the rest."""

    def __init__(self, texts: list[bytes]) -> None:
        self._texts = texts
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """The characters that the token completes."""
        return self._decoder.decode(self._texts[id])

    def finish(self) -> str:
        """The replacement character for a character that was begun and not finished."""
        return self._decoder.decode(b"", final=True)


class WordStream:
    """Each token is a word or a mark, with the space before it."""

    def __init__(self, texts: list[str], joiner: WordJoiner | MarkJoiner) -> None:
        self._texts = texts
        self._joiner = joiner

    def push(self, id: int) -> str:
        """The word, with a space before it where one belongs."""
        return self._joiner.add(self._texts[id])

    def finish(self) -> str:
        """Nothing is ever left."""
        return ""


class Decoder:
    """The text of each token of a vocabulary, and streams over them."""

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
        """A token on its own, for people: its text, controls and loose bytes as escapes."""
        if id < len(SPECIAL_TOKENS):
            return SPECIAL_TOKENS[id]
        text = self._texts[id] if self._texts else self._bytes[id].decode("utf-8", ESCAPE)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
