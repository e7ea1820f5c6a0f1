"""Texts as they grow, and where their ends occurred before: what DRY and no_repeat_ngram ask for.

With x_1 .. x_n the tokens of a text, the match at an earlier place i < n is

    m_i = the largest m for which  x_{i-m+1} .. x_i  =  x_{n-m+1} .. x_n

and with the next token, only the place before it is needed:

    m'_i = m_{i-1} + 1  if x_i = x_{n+1},    else 0

So a token costs a few passes over one array of small numbers, for all texts at once: at 5,000
tokens, 20 us for one text and 1 ms for a hundred. `reference.repeats` is the twin, which compares
token by token.

Shapes: B texts, N tokens of the longest of them, R repeats.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

NO_TOKEN = -1  # in front of a text that is shorter than others
LONGEST_MATCH = 65_000  # what uint16 holds


class Repeats(NamedTuple):
    """Earlier places of texts that match the end of the text."""

    texts: np.ndarray
    """The text of each, (R,)."""
    followers: np.ndarray
    """The token that followed there, (R,)."""
    lengths: np.ndarray
    """How many tokens match, (R,)."""


class TextHistory:
    """The tokens of several texts that grow together.

    >>> history = TextHistory([[3, 4, 5, 3]], longest=10)
    >>> history.push(np.array([4]))
    >>> history.find_repeats(1)  # 3 4 again; 5 followed
    Repeats(texts=array([0]), followers=array([5], dtype=int32), lengths=array([2], dtype=uint16))

    Args:
        texts: the tokens of each so far.
        longest: longer matches count as this long; at least 1.
        breakers: tokens that no repeated passage contains.
    """

    def __init__(
        self, texts: Sequence[Sequence[int]], longest: int, breakers: Collection[int] = ()
    ) -> None:
        self._longest = min(longest, LONGEST_MATCH)
        self._breakers = frozenset(breakers)
        self._size = max(map(len, texts), default=0)
        capacity = max(64, 2 * self._size)
        self._tokens = np.full((len(texts), capacity), NO_TOKEN, np.int32)
        for row, text in zip(self._tokens, texts, strict=True):
            row[self._size - len(text) : self._size] = text  # all texts end in the same column
        self._matches = np.zeros((len(texts), capacity), np.uint16)
        self._match_end()
        self._unbroken = np.array([self._count_unbroken(text) for text in texts], np.int64)

    @property
    def unbroken(self) -> np.ndarray:
        """How many of the last tokens of each text are no breakers, (B,)."""
        return self._unbroken

    def push(self, ids: np.ndarray) -> None:
        """Add the next token of each text (B,)."""
        N = self._size
        if self._tokens.shape[1] == N:
            self._tokens = np.pad(self._tokens, ((0, 0), (0, N)), constant_values=NO_TOKEN)
            self._matches = np.pad(self._matches, ((0, 0), (0, N)))
        before, matches = self._matches[:, : max(N - 1, 0)], self._matches[:, :N]
        grown = np.ones_like(matches)
        grown[:, 1:] += before
        np.minimum(grown, self._longest, out=grown)
        np.multiply(grown, self._tokens[:, :N] == ids[:, np.newaxis], out=matches)
        self._tokens[:, N] = ids
        self._size = N + 1
        is_broken = np.array([token in self._breakers for token in ids.tolist()], np.bool_)
        self._unbroken = np.where(is_broken, 0, self._unbroken + 1)

    def select_rows(self, rows: Sequence[int]) -> None:
        """Continue with these texts, in this order; a text may be dropped or repeated."""
        self._tokens, self._matches = self._tokens[rows], self._matches[rows]
        self._unbroken = self._unbroken[rows]

    def find_repeats(self, least: int) -> Repeats:
        """Every earlier place at which `least` tokens or more match the end of the text.

        Of no tokens at all (`least` 0) there is a match before every token.
        """
        if least == 0:
            texts, places = np.nonzero(self._tokens[:, : self._size] != NO_TOKEN)
            lengths = np.zeros(len(texts), np.uint16)
            return Repeats(texts, self._tokens[texts, places], lengths)
        earlier = max(self._size - 1, 0)
        matching = np.flatnonzero(self._matches[:, :earlier] >= least)  # faster than nonzero
        texts, places = np.divmod(matching, max(earlier, 1))
        return Repeats(texts, self._tokens[texts, places + 1], self._matches[texts, places])

    def _match_end(self) -> None:
        """The matches of every place with the end, compared token by token from there."""
        N = self._size
        tokens, matches = self._tokens[:, :N], self._matches[:, :N]
        matching = np.ones(tokens.shape, np.bool_)
        for back in range(min(self._longest, N - 1)):
            ends = tokens[:, N - 1 - back, np.newaxis]
            matching[:, back:] &= (tokens[:, : N - back] == ends) & (ends != NO_TOKEN)
            matching[:, :back] = False
            matches += matching
            if not matching[:, :-1].any():
                break

    def _count_unbroken(self, text: Sequence[int]) -> int:
        for count, token in enumerate(reversed(text)):
            if token in self._breakers:
                return count
        return len(text)
