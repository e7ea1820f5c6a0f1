"""Learning a vocabulary from training text, read once as a stream.

Characters are counted in an array over all code points, and words in a table that drops the rarest
when it is full, so memory is bounded. BPE's memory grows with the number of distinct words.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from tokenizers import trainers

from llm_timecycle.config.text_settings import Normalization, TokenizerSettings
from llm_timecycle.errors import ConfigError
from llm_timecycle.text.tokenizer.normalization import unify_text
from llm_timecycle.text.tokenizer.pipelines import (
    BYTE_CHARACTERS,
    SPECIAL_TOKENS,
    Vocabulary,
    build_pipeline,
)
from llm_timecycle.text.tokenizer.words import compile_piece, complete_piece

LEARNING_VERSION = 2
"""Increase it whenever the same text gives another vocabulary than before."""

CODE_POINTS = 0x110000
DISTINCT_WORDS_COUNTED = 1_000_000
PIECES_COUNTED = 500_000
PIECE_CHARACTERS_COUNTED = 64
WORD_CHARACTERS_AT_MOST = 100
"""Longer words never enter a vocabulary."""
LINES_FED_AT_ONCE = 64

BYTE_VOCABULARY_SIZE = len(SPECIAL_TOKENS) + len(BYTE_CHARACTERS)


class BoundedCounter:
    """Counts of pieces of text; the rarest half is dropped when there are too many distinct ones.

    Exact up to `capacity` distinct pieces. Above that, a rare piece may be undercounted by the
    occurrences before it was last dropped.

    >>> counter = BoundedCounter(capacity=2)
    >>> counter.add(["a", "a", "b"])
    >>> counter.add(["c", "a"])
    >>> dict(counter.counts)
    {'a': 3}
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.counts: Counter[str] = Counter()

    def add(self, pieces: Iterable[str] | Mapping[str, int]) -> None:
        """Count each piece; a mapping gives the number of occurrences of each."""
        self.counts.update(pieces)
        if len(self.counts) > self.capacity:
            values = np.fromiter(self.counts.values(), np.int64, len(self.counts))
            middle = np.partition(values, len(values) // 2)[len(values) // 2]
            self.counts = Counter({p: n for p, n in self.counts.items() if n > middle})


def learn_vocabulary(
    settings: TokenizerSettings, chunks: Iterable[str], normalize: Normalization = "none"
) -> Vocabulary:
    """The vocabulary of a training text, given in chunks as `Document.chunks` cuts them.

    Special tokens come first, then the most frequent characters or words, ties in the order of
    their code points; for BPE, the merges too. Raises ConfigError if `vocab_size` is too small.
    """
    if settings.level in ("byte", "subword") and settings.vocab_size < BYTE_VOCABULARY_SIZE:
        raise ConfigError(
            f"tokenizer.vocab_size: received {settings.vocab_size}, but level: {settings.level} "
            f"needs {BYTE_VOCABULARY_SIZE} or more (256 bytes and 2 special tokens)"
        )
    if settings.level == "byte":
        return Vocabulary((*SPECIAL_TOKENS, *BYTE_CHARACTERS))
    if settings.level == "subword":
        return _learn_merges(settings, chunks, normalize)
    chunks = (unify_text(chunk, normalize, settings.lowercase) for chunk in chunks)
    room = settings.vocab_size - len(SPECIAL_TOKENS)
    if settings.level == "char":
        return Vocabulary((*SPECIAL_TOKENS, *_rank_characters(chunks)[:room]))
    counts = _count_words(settings, chunks)
    for token in SPECIAL_TOKENS:
        counts.pop(token, None)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return Vocabulary((*SPECIAL_TOKENS, *ranked[:room]))


def _rank_characters(chunks: Iterable[str]) -> list[str]:
    """The characters of a text, the most frequent first."""
    counts = np.zeros(CODE_POINTS, np.int64)
    for chunk in chunks:
        code_points = np.frombuffer(chunk.encode("utf-32-le"), np.uint32)
        counts += np.bincount(code_points, minlength=CODE_POINTS)
    ranked = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return [chr(code_point) for code_point in ranked]


def _count_words(settings: TokenizerSettings, chunks: Iterable[str]) -> Counter[str]:
    counter = BoundedCounter(max(DISTINCT_WORDS_COUNTED, 2 * settings.vocab_size))
    for words in _read_words(settings, chunks):
        counter.add(words)
    return counter.counts


def _read_words(
    settings: TokenizerSettings, chunks: Iterable[str]
) -> Iterator[list[str] | Counter[str]]:
    """The words of a text, batch by batch: a list of them, or their counts."""
    if settings.word_split == "whitespace":
        for chunk in chunks:
            yield [word for word in chunk.split() if len(word) <= WORD_CHARACTERS_AT_MOST]
        return
    # The library takes one word at a time, so each distinct piece goes through it only once.
    counts: Counter[str] = Counter()
    split, divide = _make_splitter(settings), compile_piece().findall
    for chunk in chunks:
        pieces = divide(chunk)
        short = [piece for piece in pieces if len(piece) <= PIECE_CHARACTERS_COUNTED]
        counts.update(short)
        if len(short) < len(pieces):
            yield split(Counter(p for p in pieces if len(p) > PIECE_CHARACTERS_COUNTED))
        if len(counts) > PIECES_COUNTED:
            yield split(counts)
            counts.clear()
    yield split(counts)


def _make_splitter(
    settings: TokenizerSettings,
) -> Callable[[Counter[str]], Counter[str]]:
    """The function from counts of pieces to counts of words, for the unicode split."""
    divide = build_pipeline(settings, Vocabulary(())).pre_tokenizer.pre_tokenize_str

    def split(pieces: Counter[str]) -> Counter[str]:
        words: Counter[str] = Counter()
        for piece, count in pieces.items():
            found = divide(complete_piece(piece))
            for word, _ in found[: len(found) - piece.endswith(" ")]:
                if len(word) <= WORD_CHARACTERS_AT_MOST:
                    words[word] += count
        return words

    return split


def _learn_merges(
    settings: TokenizerSettings, chunks: Iterable[str], normalize: Normalization
) -> Vocabulary:
    learner = build_pipeline(settings, Vocabulary(()), normalize=normalize)
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=list(BYTE_CHARACTERS),
        show_progress=False,
    )
    learner.train_from_iterator(_cut_small(chunks), trainer)
    model = json.loads(learner.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return Vocabulary(tuple(tokens), tuple((left, right) for left, right in model["merges"]))


def _cut_small(chunks: Iterable[str]) -> Iterator[str]:
    """Chunks, a few lines at a time: the trainer keeps a few hundred items in memory."""
    for chunk in chunks:
        lines = chunk.split("\n")
        for start in range(0, len(lines), LINES_FED_AT_ONCE):
            yield "\n".join(lines[start : start + LINES_FED_AT_ONCE])
