"""What an unknown word costs: its spelling, under a character bigram of the words of a text.

A model that writes `<unk>` has not said which word it is. Someone who decodes the text needs the
word's characters too, so that the probability of an unknown word w is p(<unk>) s(w), where s is a
distribution over all strings:

    s(w)     = p(w_1 | start) p(w_2 | w_1) ... p(end | w_m)
    p(c | h) = (n(h, c) + d(h) p(c)) / (n(h) + d(h))        p(c) where h was never seen
    p(c)     = (n(c) + d / A) / (n + d)                     1 / A where nothing was seen

n(h, c) counts how often symbol c follows symbol h in the distinct words of the training text,
each taken once: unknown words are like its rare words, not like its most frequent ones. n(h) and
n(c) are its sums, n that of all; d(h) and d are how many different symbols were counted. A symbol
is a character or the end of a word; A = 1,112,065 counts them, all of Unicode. This is Witten and
Bell's interpolation, which gives a symbol never seen after h the share d(h) / (n(h) + d(h)).

Each p(. | h) adds up to 1 over the A symbols, and the end has a positive probability after every
symbol, so a word ends with probability 1 and s adds up to 1 over all strings.

Sources: Witten and Bell 1991, "The zero-frequency problem", method C; Chen and Goodman 1999, "An
empirical study of smoothing techniques for language modeling", section 2.4.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from llm_timecycle.errors import RunError
from llm_timecycle.parsing import parse_json

SYMBOLS = 0x110000 - 0x800 + 1
"""Every character of Unicode (code points without surrogates), and the end of a word."""
EDGE = ""
"""The start of a word where it comes first, the end of one where it comes second."""
WORDS_AT_MOST = 100_000
PAIRS_AT_MOST = 100_000

_EDGE_CODE = 0x110000
_SHIFT = 21


class SpellingModel:
    """The distribution s over strings, from the counts of the pairs of symbols.

    Args:
        following: n(h, c) by h and c, each a character or `EDGE`; only positive counts.
        symbols: A.
    """

    def __init__(self, following: Mapping[str, Mapping[str, int]], symbols: int = SYMBOLS) -> None:
        self.following = following
        self._symbols = symbols
        self._totals = {before: sum(counts.values()) for before, counts in following.items()}
        self._counts: Counter[str] = Counter()
        for counts in following.values():
            self._counts.update(counts)
        self._total = self._counts.total()
        self._bits: dict[tuple[str, str], float] = {}

    def compute_bits(self, word: str) -> float:
        """-log2 s(word), in bits.

        >>> model = learn_spelling(["ab", "b"])
        >>> round(2 ** -model.compute_bits("b"), 4)  # (1 + 2/4) / 4 times (2 + 1/4) / 3
        0.2813
        """
        symbols = [EDGE, *word, EDGE]
        return sum(map(self._compute_pair_bits, symbols[:-1], symbols[1:]))

    def to_json(self) -> str:
        """The content of `spelling.json`: the counts."""
        return json.dumps({"following": self.following}, ensure_ascii=False, sort_keys=True)

    def _compute_pair_bits(self, before: str, symbol: str) -> float:
        bits = self._bits.get((before, symbol))
        if bits is None:
            counts = self.following.get(before, {})
            different, total = len(counts), self._totals.get(before, 0)
            escaped = self._compute_alone(symbol)
            share = (
                (counts.get(symbol, 0) + different * escaped) / (total + different)
                if counts
                else escaped
            )
            bits = self._bits[before, symbol] = -math.log2(share)
        return bits

    def _compute_alone(self, symbol: str) -> float:
        different = len(self._counts)
        if not different:
            return 1 / self._symbols
        return (self._counts[symbol] + different / self._symbols) / (self._total + different)


def learn_spelling(words: Sequence[str]) -> SpellingModel:
    """The model of some distinct words.

    Of more than `WORDS_AT_MOST` words, every n-th one is counted; of more than `PAIRS_AT_MOST`
    different pairs, the most frequent. So time, memory and file are bounded. A pair that is left
    out costs what one never seen costs.
    """
    counted = words[:: max(1, -(-len(words) // WORDS_AT_MOST))]
    pairs, counts = np.unique(_list_pairs(counted), return_counts=True)
    if len(pairs) > PAIRS_AT_MOST:
        kept = np.sort(np.argsort(-counts, kind="stable")[:PAIRS_AT_MOST])
        pairs, counts = pairs[kept], counts[kept]
    following: dict[str, dict[str, int]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        before, symbol = (_show(code) for code in divmod(pair, 1 << _SHIFT))
        following.setdefault(before, {})[symbol] = count
    return SpellingModel(following)


def parse_spelling(content: bytes, name: str) -> SpellingModel:
    """The model in a `spelling.json` that is called `name`.

    Raises:
        RunError: it is not what this program writes.
    """
    try:
        following = parse_json(content)["following"]
        are_counts = all(
            len(before) <= 1 and len(symbol) <= 1 and type(count) is int and 0 < count < 2**53
            for before, counts in following.items()
            for symbol, count in counts.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{name} is no spelling model: {error}") from error
    if not are_counts:
        raise RunError(f"{name} is no spelling model: expected counts of pairs of characters")
    return SpellingModel(following)


def _list_pairs(words: Sequence[str]) -> np.ndarray:
    """The pairs of symbols of some words, edges included, each as one number."""
    codes = np.frombuffer("".join(words).encode("utf-32-le"), np.uint32)
    ends = np.cumsum([len(word) for word in words], dtype=np.int64)
    symbols = np.insert(codes.astype(np.int64), np.r_[0, ends], _EDGE_CODE)
    return (symbols[:-1] << _SHIFT) | symbols[1:]


def _show(code: int) -> str:
    return EDGE if code == _EDGE_CODE else chr(code)
