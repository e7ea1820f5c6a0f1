"""The split of a corpus into training, validation and test text: between documents, or at a line.

A cut moves from where the fractions put it to a boundary near it. It never makes a part empty, and
inside a document it moves by less than half of the parts beside it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from llm_timecycle.text.corpus import Corpus

CHARACTERS_AT_MOST = 1000  # a cut inside a document moves no further than this
SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+|[。！？…]+[”’」』）]*")


class _Cut(NamedTuple):
    """Where a cut is wanted, and where it may be.

    Attributes:
        wanted: the position that the fractions give.
        start: the cut must be after it, if documents are not to be cut.
        stop: the cut must be before it.
        slack: how far it may move inside a document: less than half of the parts beside it.
    """

    wanted: int
    start: int
    stop: int
    slack: int


def split_corpus(
    corpus: Corpus, valid_fraction: float, test_fraction: float
) -> tuple[Corpus, Corpus | None, Corpus | None]:
    """Cut a corpus into training, validation and test text, in this order.

    Validation is to start at 1 - valid_fraction - test_fraction of the characters, the test text at
    1 - test_fraction. Lines, paragraphs and records that are documents are never cut, if there are
    enough of them. A file is cut at the next line; or, if that is far away, at the nearest end of a
    sentence, space or character. Joined, the parts are the whole text. A fraction of 0 gives None;
    only parts of a text of a few characters can be empty.
    """
    total = corpus.count_characters()
    test_size = round(total * test_fraction)
    valid_size = round(total * (valid_fraction + test_fraction)) - test_size
    if total > 2:  # a part that is wanted has a character
        test_size = max(test_size, int(test_fraction > 0))
        valid_size = max(valid_size, int(valid_fraction > 0))
    sizes = [size for size in (total - valid_size - test_size, valid_size, test_size) if size > 0]
    slack = (min(sizes, default=0) - 1) // 2
    test_start = valid_start = total
    if test_fraction:
        first_end = _find_document_ends(corpus, 0)[-1] if valid_fraction else 0
        test_start = _find_cut(corpus, _Cut(total - test_size, first_end, total, slack))
    if valid_fraction:
        wanted = total - test_size - valid_size
        if wanted >= test_start:  # the test text is one large document
            wanted = test_start - max(round(test_start * valid_fraction), 1)
            slack = 0
        valid_start = _find_cut(corpus, _Cut(wanted, 0, test_start, slack))
    else:
        valid_start = test_start
    return (
        corpus.cut(0, valid_start, f"the training part of {corpus.name}"),
        corpus.cut(valid_start, test_start, f"the validation part of {corpus.name}")
        if valid_fraction
        else None,
        corpus.cut(test_start, total, f"the test part of {corpus.name}") if test_fraction else None,
    )


def _find_cut(corpus: Corpus, cut: _Cut) -> int:
    """The best place for a cut."""
    if any(text.is_many for text in corpus.texts):
        for start in (cut.start, 0):
            if ends := _list_ends(corpus, cut, start):
                return ends[0]
    elif (ends := _list_ends(corpus, cut, 0)) and abs(ends[0] - cut.wanted) <= cut.slack:
        return ends[0]
    return _find_inner_cut(corpus, cut.wanted, min(cut.slack, CHARACTERS_AT_MOST))


def _list_ends(corpus: Corpus, cut: _Cut, start: int) -> list[int]:
    """The ends of documents around a cut that are after `start`, the nearest one first."""
    position = max(min(cut.wanted, cut.stop - 1), start)
    ends = [end for end in _find_document_ends(corpus, position) if start < end < cut.stop]
    return sorted(ends, key=lambda end: abs(end - cut.wanted))


def _find_document_ends(corpus: Corpus, position: int) -> tuple[int, ...]:
    """The ends of documents before and after a character; (0,) beyond the text."""
    start = 0
    for text in corpus.texts:
        length = text.count_characters()
        if start <= position < start + length:
            below, above = text.file.find_ends(text.start + position - start)
            return start + below - text.start, start + above - text.start
        start += length
    return (0,)


def _find_inner_cut(corpus: Corpus, position: int, reach: int) -> int:
    """The next line, else the nearest line, end of a sentence, or space; else `position` itself.

    >>> from llm_timecycle.text.split import SENTENCE_END
    >>> [found.end() for found in SENTENCE_END.finditer('One. "Two!" 三。四')]
    [5, 12, 14]
    """
    start = max(position - reach - 1, 0)
    window = corpus.cut(start, position + reach, corpus.name)
    text = "".join(chunk.text for document in window.documents() for chunk in document.chunks())
    middle = position - start
    if middle <= 0 or not reach:
        return position
    if (found := text.find("\n", middle - 1)) >= 0:
        return start + found + 1
    for pattern in (re.compile("\n"), SENTENCE_END, re.compile(r"\s+")):
        ends = [found.end() for found in pattern.finditer(text) if found.end() < len(text)]
        if ends:
            return start + min(ends, key=lambda end: abs(end - middle))
    return position
