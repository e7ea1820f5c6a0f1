"""How much of one text occurs word for word in another, from a sample of both in bounded memory.

A shingle is every run of `SHINGLE_BYTES` bytes of the UTF-8 text: about nine English words, or
sixteen Han characters. A text is reduced to the hashes of some of its shingles, which the content
of a shingle chooses, so that two texts keep the same ones and can be compared (Broder 1997, "On the
resemblance and containment of documents": the sketch modulo m). At level l, one shingle in 2^l is
kept, so the sample of a higher level is part of that of a lower one.

To be cheap, the choice reads the first twelve bytes only: the first four give up to eight levels,
which leaves one place in 256 of a long text to look at more closely; the other eight give the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load, save

from llm_timecycle.parsing import call_library

SHINGLE_BYTES = 48
KEPT_AT_MOST = 1 << 16
COUNTED_AT_MOST = 1 << 40
"""Occurrences of a shingle; so sums of all are whole numbers of 63 bits."""
COMPARED_AT_LEAST = 20
"""Shingles of a text below which nothing is said about it."""
LEAK_SHARE = 0.45
"""Half of a text, less what the sample and the ends of the copies can hide."""

_WORD_BYTES = 4
_WORDS = SHINGLE_BYTES // _WORD_BYTES
_FIRST_LEVELS = 8
_LEVEL_BITS = 6  # of a key, its highest; the others are the hash
_HASH_BITS = np.uint64(64 - _LEVEL_BITS)
_FIRST_FACTOR = np.uint32(0x9E3779B1)
_NEXT_FACTORS = np.array([0x85EBCA6B9D5C2F13, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
# Drawn once: a multilinear hash, whose high bits are as good as random for any two shingles.
_FACTORS = np.random.PCG64(12).random_raw(_WORDS) | np.uint64(1)


@dataclass(frozen=True)
class Sketch:
    """The shingles of a text that were kept."""

    level: int
    """One shingle in 2^level was kept."""
    keys: np.ndarray
    """Their keys (N,), uint64, sorted, each once."""
    counts: np.ndarray
    """How often each occurred (N,), int64."""

    def to_bytes(self) -> bytes:
        """The content of `shingles.safetensors`."""
        level = np.array([self.level], np.int64)
        return save({"level": level, "keys": self.keys, "counts": self.counts})

    @classmethod
    def from_bytes(cls, content: bytes) -> Sketch:
        """The sketch in a `shingles.safetensors`; ValueError if it is none."""
        try:
            tensors = call_library(lambda: load(content))
            level, keys, counts = (tensors[name] for name in ("level", "keys", "counts"))
        except (ValueError, KeyError) as error:
            raise ValueError(f"not a sketch of shingles: {error}") from error
        types = [tensor.dtype.name for tensor in (level, keys, counts)]
        if (
            types != ["int64", "uint64", "int64"]
            or level.shape != (1,)
            or keys.ndim != 1
            or counts.shape != keys.shape
        ):
            raise ValueError("not a sketch of shingles: wrong types or shapes")
        sketch = cls(int(level[0]), keys, counts)
        if (
            not 0 <= sketch.level < 1 << _LEVEL_BITS
            or len(keys) > KEPT_AT_MOST
            or np.any(keys[1:] <= keys[:-1])
            or np.any(keys >> _HASH_BITS < sketch.level)
            or np.any((counts < 1) | (counts > COUNTED_AT_MOST))
        ):
            raise ValueError("not a sketch of shingles: its numbers contradict one another")
        return sketch

    def raise_to(self, level: int) -> Sketch:
        """The part of the sketch that a higher level keeps."""
        if level <= self.level:
            return self
        is_kept = self.keys >> _HASH_BITS >= level
        return Sketch(level, self.keys[is_kept], self.counts[is_kept])


EMPTY_SKETCH = Sketch(0, np.zeros(0, np.uint64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Overlap:
    """How much of a text occurs in the training text."""

    share: float
    """The share of the text's shingles that occur in the training text."""
    expected: float
    """The share of the training text's own shingles that occur in it more than once: what a
    repetitive text has in common with any part of itself."""

    @property
    def is_leak(self) -> bool:
        """Whether most of the text was copied, more than repetition explains.

        share >= t  and  (share - expected) / (1 - expected) >= t,  t = `LEAK_SHARE`
        """
        unexplained = self.share - self.expected
        return self.share >= LEAK_SHARE and unexplained >= LEAK_SHARE * (1 - self.expected) > 0


def compute_overlap(text: Sketch, training: Sketch) -> Overlap | None:
    """How much of a text occurs word for word in the training text.

    None where one of them has too few shingles in common terms to tell (`COMPARED_AT_LEAST`).
    """
    level = max(text.level, training.level)
    text, training = text.raise_to(level), training.raise_to(level)
    if min(len(text.keys), len(training.keys)) < COMPARED_AT_LEAST:
        return None
    is_shared = np.isin(text.keys, training.keys, assume_unique=True)
    is_repeated = training.counts > 1
    return Overlap(
        float(text.counts[is_shared].sum() / text.counts.sum()),
        float(training.counts[is_repeated].sum() / training.counts.sum()),
    )


class SketchBuilder:
    """Makes the sketch of a text of those of its pieces, which may come in any order.

    Args:
        kept_at_most: shingles to keep; the level rises until no more are left.
    """

    def __init__(self, kept_at_most: int = KEPT_AT_MOST) -> None:
        self._kept_at_most = kept_at_most
        self._pieces = [EMPTY_SKETCH]
        self._waiting = 0

    def add(self, piece: Sketch) -> None:
        """Take the sketch of the next piece."""
        self._pieces.append(piece)
        self._waiting += len(piece.keys)
        if self._waiting > self._kept_at_most:
            self.finish()

    def finish(self) -> Sketch:
        """The sketch of what was added so far."""
        level = max(piece.level for piece in self._pieces)
        keys, place = np.unique(
            np.concatenate([piece.keys for piece in self._pieces]), return_inverse=True
        )
        counts = np.zeros(len(keys), np.int64)
        np.add.at(counts, place, np.concatenate([piece.counts for piece in self._pieces]))
        sketch = Sketch(0, keys, counts).raise_to(level)
        while len(sketch.keys) > self._kept_at_most:
            sketch = sketch.raise_to(sketch.level + 1)
        self._pieces, self._waiting = [sketch], 0
        return sketch


def choose_level(size: int) -> int:
    """The level at which a text of so many characters or bytes keeps about as much as it may."""
    return (size // KEPT_AT_MOST).bit_length()


def sketch_piece(content: bytes, level: int) -> Sketch:
    """The sketch of a piece of text, in UTF-8; a shingle lies inside one piece."""
    keys, counts = np.unique(hash_shingles(content, level), return_counts=True)
    return Sketch(level, keys, counts.astype(np.int64))


def hash_shingles(content: bytes, level: int) -> np.ndarray:
    """The keys (N,), uint64, of the shingles of a piece that are kept at a level, in any order.

    A key's highest six bits are the highest level that keeps the shingle; the others, its hash.
    """
    last = len(content) - SHINGLE_BYTES
    if last < 0:
        return np.zeros(0, np.uint64)
    # Row r holds the words that begin r bytes after a multiple of four; few large operations, as
    # each of them waits for the interpreter's lock.
    count = len(content) // _WORD_BYTES
    padded = content + bytes(_WORD_BYTES)
    rows = [padded[phase : phase + count * _WORD_BYTES] for phase in range(_WORD_BYTES)]
    words = np.frombuffer(b"".join(rows), "<u4")
    first = words * _FIRST_FACTOR
    starts = np.flatnonzero(first <= np.uint32((1 << (32 - min(level, _FIRST_LEVELS))) - 1))
    row, place = np.divmod(starts, count)
    starts = starts[place * _WORD_BYTES + row <= last]
    levels = np.minimum(_count_leading_zeros(first[starts]), _FIRST_LEVELS)
    begins = words[starts[:, None] + np.arange(3)].astype(np.uint64)
    following = (begins * _NEXT_FACTORS).sum(axis=1) >> np.uint64(32)
    levels += np.where(levels == _FIRST_LEVELS, _count_leading_zeros(following), 0)
    is_kept = levels >= level
    starts, levels = starts[is_kept], levels[is_kept].astype(np.uint64)
    shingles = words[starts[:, None] + np.arange(_WORDS)].astype(np.uint64)
    hashes = (shingles * _FACTORS).sum(axis=1)
    return np.asarray((levels << _HASH_BITS) | (hashes >> np.uint64(_LEVEL_BITS)))


def _count_leading_zeros(numbers: np.ndarray) -> np.ndarray:
    """How many of the 32 bits of each number are zero before its highest one."""
    return 32 - np.frexp(numbers.astype(np.float64))[1]
