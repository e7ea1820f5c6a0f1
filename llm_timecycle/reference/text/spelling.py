"""What an unknown word costs: a character bigram, smoothed after Witten and Bell.

A symbol is a character or the edge of a word: its start as what comes before, its end as what
follows. A is how many symbols there are, seen or not.

Source: Witten and Bell 1991, "The zero-frequency problem", method C, interpolated as in Chen and
Goodman 1999, "An empirical study of smoothing techniques for language modeling", section 2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.arrays import Array, Integers


def count_pairs(words: Sequence[str], alphabet: str) -> Integers:
    """How often each symbol follows each other one in some words.

    Args:
        words: each is counted once.
        alphabet: the K - 1 characters, in the order of their rows and columns 1, 2, ...

    Returns:
        The counts n(h, c) (K, K); row 0 is the start of a word, column 0 its end.

    >>> count_pairs(["ab", "b"], "ab").tolist()
    [[0, 1, 1], [0, 0, 1], [2, 0, 0]]
    """
    counts = np.zeros((len(alphabet) + 1, len(alphabet) + 1), np.int64)
    for word in words:
        symbols = [0, *(alphabet.index(character) + 1 for character in word), 0]
        for before, symbol in pairwise(symbols):
            counts[before, symbol] += 1
    return counts


def compute_pair_probabilities(counts: Integers, symbols: int) -> Array:
    """The probability of each symbol after each other one.

        p(c | h) = (n(h, c) + d(h) p(c)) / (n(h) + d(h))      p(c) where h was never seen
        p(c)     = (n(c) + d / A) / (n + d)                   1 / A where nothing was seen

    Args:
        counts: n(h, c) (K, K). d counts different symbols: d(h) those after h, d all.
        symbols: A, at least K.

    Returns:
        p(c | h) (K, K). With A = K each row adds up to 1; otherwise the A - K other symbols have
        the rest, in equal shares.

    Raises:
        UsageError: A is less than K.

    >>> compute_pair_probabilities(np.array([[0, 1], [1, 0]]), 2).tolist()
    [[0.25, 0.75], [0.75, 0.25]]
    """
    if symbols < len(counts):
        raise UsageError(f"symbols: expected at least {len(counts)}, received {symbols}")
    of_symbol = counts.sum(axis=0)
    different, total = np.count_nonzero(of_symbol), counts.sum()
    if total == 0:
        return np.full(counts.shape, 1 / symbols)
    alone = (of_symbol + different / symbols) / (total + different)
    after = counts.sum(axis=1, keepdims=True)
    different_after = np.count_nonzero(counts, axis=1, keepdims=True)
    is_seen = after > 0
    blended = (counts + different_after * alone) / np.where(is_seen, after + different_after, 1)
    return np.asarray(np.where(is_seen, blended, alone))


def compute_spelling_bits(word: str, words: Sequence[str], symbols: int) -> float:
    """What it costs to spell a word, in bits, given the distinct words of the training text.

        -log2 s(w) = -log2 p(w_1 | start) - log2 p(w_2 | w_1) - ... - log2 p(end | w_m)

    Args:
        word: w, of m characters.
        words: the words that n counts pairs in.
        symbols: A.

    >>> compute_spelling_bits("", [], 4)
    2.0
    """
    alphabet = "".join(sorted({*word, *"".join(words)}))
    p = compute_pair_probabilities(count_pairs(words, alphabet), symbols)
    path = [0, *(alphabet.index(character) + 1 for character in word), 0]
    return float(-np.sum(np.log2(p[path[:-1], path[1:]])))
