"""Encoding by look-up: the same ids as the library's pipeline, many times faster.

char, byte          one NumPy table from code point or byte to id
word, whitespace    a dictionary from word to id
word, unicode;      the text is split where tokens always end, into pieces such as a word with
subword             its punctuation, and each distinct piece goes through the library once
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from llm_timecycle.config.text_settings import (
    Documents,
    TokenizerSettings,
    does_eos_end_documents,
)
from llm_timecycle.text.tokenizer.characters import BLANK, HAN_LETTERS, WHITE_SPACE
from llm_timecycle.text.tokenizer.pipelines import (
    END,
    SPECIAL_TOKENS,
    UNKNOWN_ID,
    Vocabulary,
    build_pipeline,
)
from llm_timecycle.text.tokenizer.vocabulary import CODE_POINTS
from llm_timecycle.text.tokenizer.words import compile_piece, complete_piece

PIECES_KEPT = 500_000
PIECE_CHARACTERS_KEPT = 64
PIECES_AT_ONCE = 250

SUBWORD_VERSION = 2
"""Increase it whenever the same text has other ids at the subword level than before."""

# Between these pieces, the tokens of the subword level always end. They do not beside a Han
# character that is no letter, such as 〇: numbers and marks run over it.
SUBWORD_PIECE = re.compile(
    f" ?[^{WHITE_SPACE}{HAN_LETTERS}]+|[{HAN_LETTERS}]|\n|[{BLANK}]+(?![^{WHITE_SPACE}])|[{BLANK}]"
)


class Lookup(Protocol):
    """Encodes text as `unify_text` returns it."""

    def encode(self, text: str) -> np.ndarray:
        """The ids (N,) of `text`, in the narrowest unsigned type that holds the vocabulary."""

    def encode_each(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all texts (N,), joined, and the number of ids of each, int64 (D,)."""

    def list_unknown(self, text: str) -> list[str]:
        """Every piece of `text` that is encoded as `<unk>`, in order."""


def make_lookup(
    settings: TokenizerSettings, vocabulary: Vocabulary, *, documents: Documents = "file"
) -> Lookup:
    """The encoder of a level."""
    if settings.level == "char":
        return CharacterTable(vocabulary)
    if settings.level == "byte":
        return ByteTable(vocabulary)
    if settings.level == "word" and settings.word_split == "whitespace":
        return WordTable(vocabulary, does_eos_end_documents(settings, documents))
    return PieceTable(settings, vocabulary)


def choose_dtype(vocab_size: int) -> np.dtype[Any]:
    """The narrowest unsigned type for ids below `vocab_size`: uint8, uint16 or uint32."""
    return np.dtype(np.min_scalar_type(vocab_size - 1))


class CharacterTable:
    """Code point to id."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = np.zeros(CODE_POINTS, choose_dtype(len(vocabulary.tokens)))
        first = len(SPECIAL_TOKENS)
        code_points = [ord(token) for token in vocabulary.tokens[first:]]
        self._ids[code_points] = np.arange(first, len(vocabulary.tokens))

    def encode(self, text: str) -> np.ndarray:
        """The ids (N,) of the N characters."""
        return self._ids.take(np.frombuffer(text.encode("utf-32-le"), np.uint32))

    def encode_each(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """A character is an id."""
        return self.encode("".join(texts)), np.fromiter(map(len, texts), np.int64, len(texts))

    def list_unknown(self, text: str) -> list[str]:
        """The characters that are not in the vocabulary."""
        return [text[position] for position in np.flatnonzero(self.encode(text) == UNKNOWN_ID)]


class ByteTable:
    """Byte to id: the value of the byte plus 2, after the special tokens."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._dtype = choose_dtype(len(vocabulary.tokens))

    def encode(self, text: str) -> np.ndarray:
        """The ids (N,) of the N bytes of the UTF-8 form."""
        ids = np.frombuffer(text.encode(), np.uint8).astype(self._dtype)
        ids += len(SPECIAL_TOKENS)
        return ids

    def encode_each(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """A byte is an id."""
        joined = "".join(texts)
        sizes = map(len, texts if joined.isascii() else map(str.encode, texts))
        return self.encode(joined), np.fromiter(sizes, np.int64, len(texts))

    def list_unknown(self, text: str) -> list[str]:
        """Nothing: every byte is in the vocabulary."""
        return []


class _IdBytes(dict[str, bytes]):
    """Pieces of text to the bytes of their ids."""

    def __init__(self, ids: dict[str, int], dtype: np.dtype[Any]) -> None:
        super().__init__((piece, np.array(id, dtype).tobytes()) for piece, id in ids.items())
        self._unknown = np.array(UNKNOWN_ID, dtype).tobytes()

    def __missing__(self, piece: str) -> bytes:
        return self._unknown


class WordTable:
    """Word to id.

    A line break is a space, or `<eos>` too unless `does_eos_end_documents`.
    """

    def __init__(self, vocabulary: Vocabulary, does_eos_end_documents: bool) -> None:
        self._line_break = " " if does_eos_end_documents else f" {END} "
        self._dtype = choose_dtype(len(vocabulary.tokens))
        self._ids = _IdBytes(vocabulary.number_tokens(), self._dtype)

    def encode(self, text: str) -> np.ndarray:
        """The ids (N,) of the words and line breaks."""
        return np.frombuffer(self._pack(text), self._dtype)

    def encode_each(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """As `encode`, text after text."""
        return _join_packed([self._pack(text) for text in texts], self._dtype)

    def list_unknown(self, text: str) -> list[str]:
        """The words that are not in the vocabulary, and `<unk>` itself."""
        unknown = self._ids[SPECIAL_TOKENS[UNKNOWN_ID]]
        return [word for word in text.split() if self._ids[word] == unknown]

    def _pack(self, text: str) -> bytes:
        words = text.replace("\n", self._line_break).split()
        return b"".join(map(self._ids.__getitem__, words))


class PieceTable(dict[str, bytes]):
    """Piece to the bytes of its ids, filled by the library as new pieces occur.

    Threads may share a table: a piece that is missing at any moment is simply encoded again.
    """

    def __init__(self, settings: TokenizerSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        size = len(vocabulary.tokens)
        self._is_word = settings.level == "word"
        self._dtype = choose_dtype(size)
        self._missing_id = size
        if self._is_word and "\n" not in vocabulary.tokens:  # it separates pieces all the same
            vocabulary = Vocabulary((*vocabulary.tokens, "\n"))
        self._pipeline = build_pipeline(settings, vocabulary)
        self._pipeline.normalizer = None
        self._divide = (compile_piece() if self._is_word else SUBWORD_PIECE).findall
        (self._line_break,) = self._pipeline.encode("\n").ids
        self._packed_line_break = self._pack(np.array([self._line_break]))

    def encode(self, text: str) -> np.ndarray:
        """The ids (N,) of the tokens."""
        pieces = self._divide(text)
        self._learn(set(pieces))
        return np.frombuffer(b"".join(map(self.__getitem__, pieces)), self._dtype)

    def encode_each(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """As `encode`, text after text; new pieces of all texts are encoded together."""
        divided = [*map(self._divide, texts)]
        self._learn(set().union(*divided))
        find = self.__getitem__
        return _join_packed([b"".join(map(find, pieces)) for pieces in divided], self._dtype)

    def list_unknown(self, text: str) -> list[str]:
        """The words and marks that are not in the vocabulary."""
        encoding = self._pipeline.encode(text)
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        return [
            text[start:stop] for id, (start, stop) in pairs if id in (UNKNOWN_ID, self._missing_id)
        ]

    def __missing__(self, piece: str) -> bytes:
        return self._packed_line_break if piece == "\n" else next(self._encode_new([piece]))

    def _learn(self, distinct: set[str]) -> None:
        """Put the pieces that are new into the table."""
        distinct.discard("\n")
        new = self._list_new(distinct)
        if len(self) + len(new) > PIECES_KEPT:
            self.clear()
            new = self._list_new(distinct)
        self.update(zip(new, self._encode_new(new), strict=True))
        self["\n"] = self._packed_line_break

    def _list_new(self, pieces: set[str]) -> list[str]:
        """The pieces that are not in the table yet and are short enough to keep."""
        return [p for p in pieces if p not in self and len(p) <= PIECE_CHARACTERS_KEPT]

    def _encode_new(self, pieces: list[str]) -> Iterator[bytes]:
        """The ids of each piece; none of them is a line break.

        Many go through the library at once, one piece per line of a text, texts in parallel.
        """
        firsts = range(0, len(pieces), PIECES_AT_ONCE)
        batches = [pieces[first : first + PIECES_AT_ONCE] for first in firsts]
        lines = complete_piece if self._is_word else str
        texts = ["\n".join(map(lines, batch)) for batch in batches]
        for batch, encoding in zip(batches, self._pipeline.encode_batch_fast(texts), strict=True):
            ids = np.array(encoding.ids)
            (breaks,) = np.nonzero(ids == self._line_break)
            packed, width = self._pack(ids), self._dtype.itemsize
            starts, ends = [0, *(breaks + 1).tolist()], [*breaks.tolist(), len(ids)]
            for piece, start, end in zip(batch, starts, ends, strict=True):
                last = end - (self._is_word and piece.endswith(" "))
                yield packed[start * width : last * width]

    def _pack(self, ids: np.ndarray) -> bytes:
        """The bytes of these ids, with `<unk>` for a line break that is not in the vocabulary."""
        return np.where(ids == self._missing_id, UNKNOWN_ID, ids).astype(self._dtype).tobytes()


def _join_packed(packed: list[bytes], dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The ids (N,) of texts that are bytes of ids, and how many each has (D,)."""
    sizes = np.fromiter(map(len, packed), np.int64, len(packed))
    return np.frombuffer(b"".join(packed), dtype), sizes // dtype.itemsize
