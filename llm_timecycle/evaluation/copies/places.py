"""Where a token of an encoded text is in its files: `novel.txt:1234`, or a document's number.

The token store has ids alone. A token's share of the text says about where in the files it is; the
pieces around there are encoded again until one holds the passage. What is named is thus read from
the file itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_timecycle.text.chunks import Chunk
from llm_timecycle.text.corpus import Corpus, Document
from llm_timecycle.text.encoding import encode_chunk
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

PIECES_TRIED = 12
MARGIN_CHARACTERS = 20_000
"""Read beyond a piece, for passages that go over its end."""


@dataclass(frozen=True)
class _Piece:
    """A chunk of a corpus: where it is."""

    document: Document
    start: int
    stop: int
    """Characters of its file."""
    middle: float
    """Its middle, as a share of the corpus."""
    lines_before: int
    documents_before: int
    """Of its file."""


def find_places(
    corpus: Corpus, tokenizer: Tokenizer, passages: Sequence[tuple[np.ndarray, float]]
) -> list[str | None]:
    """The file and line of each passage, or the file and document; None where it was not found.

    Args:
        corpus: the text that the passages are from.
        tokenizer: the one that it was encoded with.
        passages: for each, its ids and the share of the text's tokens before it.

    Raises:
        DataError: the text cannot be read.
    """
    pieces = list(_list_pieces(corpus)) if passages else []
    places = []
    for ids, share in passages:
        nearest = sorted(pieces, key=lambda piece: abs(piece.middle - share))[:PIECES_TRIED]
        found = (_search(piece, tokenizer, ids) for piece in nearest)
        places.append(next((place for place in found if place is not None), None))
    return places


def _list_pieces(corpus: Corpus) -> list[_Piece]:
    """The chunks of a corpus, which is read once."""
    total = max(corpus.count_characters(), 1)
    pieces = []
    passed = 0
    for document in corpus.documents():
        lines, documents, position = _count_before(document), 0, document.start
        for chunk in document.chunks():
            length = len(chunk.text)
            middle = (passed + length / 2) / total
            stop = position + length
            pieces.append(_Piece(document, position, stop, middle, lines, documents))
            lines += chunk.text.count("\n")
            documents += len(chunk.ends)
            position, passed = stop, passed + length
    return pieces


def _count_before(document: Document) -> int:
    """Line breaks of a file before the part of it that a document is."""
    if document.start == 0 or document.is_many:
        return 0
    return sum(chunk.text.count("\n") for chunk in document.file.chunks(0, document.start))


def _search(piece: _Piece, tokenizer: Tokenizer, ids: np.ndarray) -> str | None:
    """The place of a passage in a piece; None where it is not in it."""
    document = piece.document
    limit = piece.stop + MARGIN_CHARACTERS
    end = document.start + document.count_characters()
    stop = limit if limit < end else document.stop  # None: with the <eos> at the end of the file
    text, ends = "", list[int]()
    for chunk in document.file.chunks(piece.start, stop):
        ends += [len(text) + end for end in chunk.ends]
        text += chunk.text
    chunk = Chunk(text, tuple(ends))
    encoded = encode_chunk(tokenizer, 0, chunk, False)
    token = _find_run(encoded.ids, ids)
    if token is None:
        return None
    if document.is_many:
        number = piece.documents_before + int(np.searchsorted(encoded.ends, token, "right"))
        return f"{document.name}, document {number + 1:,}"
    line = piece.lines_before + _count_lines(tokenizer, text, encoded.ids, token)
    return f"{document.name}:{line + 1}"


def _count_lines(tokenizer: Tokenizer, text: str, ids: np.ndarray, token: int) -> int:
    """Line breaks in a text before a token of it."""
    if tokenizer.settings.level in ("subword", "byte"):  # whose tokens may hold several
        return tokenizer.decode(ids[:token]).count("\n")
    *lines, last = text.split("\n")
    _, lengths = tokenizer.encode_each([*(f"{line}\n" for line in lines), last])
    return int(np.searchsorted(np.cumsum(lengths), token, side="right"))


def _find_run(ids: np.ndarray, run: np.ndarray) -> int | None:
    """The first place of a run of ids in others."""
    places = np.flatnonzero(ids[: max(len(ids) - len(run) + 1, 0)] == run[0])
    for offset, token in enumerate(run[1:], start=1):
        if not len(places):
            break
        places = places[ids[places + offset] == token]
    return int(places[0]) if len(places) else None
