"""Learning a vocabulary from training text, read once as a stream.

Characters are counted in an array over all code points, and words in a table that drops the rarest
when it is full, so memory is bounded. BPE's memory grows with the number of distinct words.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

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
from llm_timecycle.text.tokenizer.spelling import learn_spelling
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
CHARACTERS_COUNTED_AT_ONCE = 4_000_000
"""Four million have half as many different words as four times one."""

BYTE_VOCABULARY_SIZE = len(SPECIAL_TOKENS) + len(BYTE_CHARACTERS)

PieceCounts = tuple[dict[str, int], dict[str, int]]
"""What `count_pieces` returns: the counts of pieces, and those of words."""
CountGroups = Callable[[Iterable[list[str]]], Iterable[PieceCounts]]
"""A `map` of `count_pieces` over groups of chunks."""


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
    settings: TokenizerSettings,
    chunks: Iterable[str],
    normalize: Normalization = "none",
    count_groups: CountGroups | None = None,
) -> Vocabulary:
    """The vocabulary of a training text, given in chunks as `Document.chunks` cuts them.

    Special tokens come first, then the most frequent characters or words, ties in the order of
    their code points; for BPE, the merges too. At char and word level it has the spelling model of
    all of them, those left out included. `count_groups` counts words elsewhere than here. Raises
    ConfigError if `vocab_size` is too small.
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
    room = settings.vocab_size - len(SPECIAL_TOKENS)
    if settings.level == "char":
        texts = (unify_text(chunk, normalize, settings.lowercase) for chunk in chunks)
        characters = _rank_characters(texts)
        tokens = (*SPECIAL_TOKENS, *characters[:room])
        return Vocabulary(tokens, spelling=learn_spelling(characters))
    if count_groups is None:
        count_groups = partial(map, partial(count_pieces, settings, normalize))
    counts = _count_words(settings, count_groups(group_chunks(chunks)))
    for token in SPECIAL_TOKENS:
        counts.pop(token, None)
    tokens = (*SPECIAL_TOKENS, *_rank_words(counts, room))
    return Vocabulary(tokens, spelling=learn_spelling(sorted(counts)))


def _rank_words(counts: Mapping[str, int], room: int) -> list[str]:
    """The `room` most frequent words, the most frequent first."""
    words = list(counts)
    if len(words) > room:  # sorting a million words to keep ten thousand takes seconds
        values = np.fromiter(counts.values(), np.int64, len(counts))
        least = np.partition(values, len(values) - room)[len(values) - room]
        words = [word for word, count in counts.items() if count >= least]
    return sorted(words, key=lambda word: (-counts[word], word))[:room]


def _rank_characters(chunks: Iterable[str]) -> list[str]:
    """The characters of a text, the most frequent first."""
    counts = np.zeros(CODE_POINTS, np.int64)
    for chunk in chunks:
        code_points = np.frombuffer(chunk.encode("utf-32-le"), np.uint32)
        counts += np.bincount(code_points, minlength=CODE_POINTS)
    ranked = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return [chr(code_point) for code_point in ranked]


def group_chunks(chunks: Iterable[str]) -> Iterator[list[str]]:
    """Chunks in the groups that are counted together, the same on every machine."""
    group, characters = [], 0
    for chunk in chunks:
        group.append(chunk)
        characters += len(chunk)
        if characters >= CHARACTERS_COUNTED_AT_ONCE:
            yield group
            group, characters = [], 0
    if group:
        yield group


def make_piece_counter(
    settings: str, normalize: Normalization
) -> Callable[[list[str]], PieceCounts]:
    """What a worker does with each group of chunks.

    Args:
        settings: the settings of the tokenizer, as JSON.
        normalize: the Unicode normalization form to bring every text into first.
    """
    return partial(count_pieces, TokenizerSettings.model_validate_json(settings), normalize)


def count_pieces(
    settings: TokenizerSettings, normalize: Normalization, group: Iterable[str]
) -> PieceCounts:
    """How often each word occurs in a group of chunks, or each piece of the unicode split.

    Pieces too long to wait for others of their kind are split into words at once; these are the
    second table. Words too long for a vocabulary are left out.
    """
    counts: Counter[str] = Counter()
    is_plain = settings.word_split == "whitespace"
    divide = str.split if is_plain else compile_piece().findall
    for chunk in group:
        counts.update(divide(unify_text(chunk, normalize, settings.lowercase)))
    most = WORD_CHARACTERS_AT_MOST if is_plain else PIECE_CHARACTERS_COUNTED
    long = {piece: counts.pop(piece) for piece in [p for p in counts if len(p) > most]}
    if is_plain or not long:
        return dict(counts), {}
    return dict(counts), dict(_make_splitter(settings)(Counter(long)))


def _count_words(settings: TokenizerSettings, counted: Iterable[PieceCounts]) -> Counter[str]:
    """How often each word occurs, from the counts of the groups in order."""
    counter = BoundedCounter(max(DISTINCT_WORDS_COUNTED, 2 * settings.vocab_size))
    if settings.word_split == "whitespace":
        for words, _ in counted:
            counter.add(words)
        return counter.counts
    # The library takes one word at a time, so each distinct piece goes through it only once.
    waiting: Counter[str] = Counter()
    split = _make_splitter(settings)
    for pieces, words in counted:
        waiting.update(pieces)
        counter.add(words)
        if len(waiting) > PIECES_COUNTED:
            counter.add(split(waiting))
            waiting.clear()
    counter.add(split(waiting))
    return counter.counts


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
