"""Where passages of a few samples stand word for word in a long text, in bounded memory.

Every run of n tokens of the samples is hashed. The text goes by in chunks; where a run of it has
one of these hashes, the two may be parts of one longer passage: hits on one diagonal (the same
distance between place in the sample and place in the text) that follow one another are. Each
passage found is then compared token by token and extended to both sides as far as it goes.

No hash decides anything alone: equal runs always have equal hashes, so that none is missed, and
what is found is compared. `reference/text/overlap.py` is the twin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from llm_timecycle.text.batches import release_pages

CHUNK_TOKENS = 1 << 20
PAIRS_AT_MOST = 1 << 22
"""Of a run in the samples and its like in the text, in memory at once."""
OCCURRENCES_AT_MOST = 16
"""Of one run in the samples: a loop has it hundreds of times, and its passages are extended."""
FILTER_BITS = 22
_FACTORS = np.random.PCG64(13).random_raw(32) | np.uint64(1)  # drawn once


@dataclass(frozen=True)
class Match:
    """A passage of a sample that stands in the text."""

    sample: int
    """The number of the sample, from 0."""
    start: int
    """Its first token in the sample."""
    tokens: int
    """How long it is."""
    position: int
    """The token of the text at which it begins."""


@dataclass(frozen=True)
class Copies:
    """What samples have in common with a text."""

    copied: tuple[int, ...]
    """Of each sample's runs of n tokens, how many stand in the text."""
    runs: tuple[int, ...]
    """How many each has."""
    matches: tuple[Match, ...]
    """The longest passages, longest first; none is part of another one, and none is there twice."""


def find_copies(
    samples: Sequence[np.ndarray],
    text: np.ndarray,
    *,
    run: int,
    most: int,
    listed: int | None = None,
    barred: Sequence[int] = (),
    after_chunk: Callable[[int], object] = lambda tokens: None,
) -> Copies:
    """The passages of samples that stand in a text.

    Args:
        samples: ids of each (T,).
        text: ids (N,), which may be mapped from a file; read once, in chunks.
        run: n, the shortest passage.
        most: how many passages to return.
        listed: of how many of the samples, the first ones; None lists those of all.
        barred: ids that are no word, such as `<unk>`: a run with one of them is no copy.
        after_chunk: called with the tokens that were read since the last call.
    """
    index = _Index(samples, run, barred)
    for start in range(0, max(len(text) - run + 1, 0), CHUNK_TOKENS):
        stop = min(start + CHUNK_TOKENS, len(text) - run + 1)
        index.scan(text, start, stop)
        release_pages(text)
        after_chunk(stop - start)
    return index.conclude(text, most, len(samples) if listed is None else listed)


def hash_runs(tokens: np.ndarray, length: int) -> np.ndarray:
    """A hash of every run of `length` tokens (N - length + 1,), uint64.

    Hashes of runs that double in length are combined, h = h_first f + h_second modulo 2^64, with a
    factor for each length.

    >>> a, b, c, d = hash_runs(np.array([7, 8, 9, 7, 8, 9]), 3).tolist()
    >>> a == d, len({a, b, c})
    (True, 3)
    """
    doubled = (tokens.astype(np.uint64) + np.uint64(1)) * _FACTORS[0]
    doubled ^= doubled >> np.uint64(32)
    doubled *= _FACTORS[1]
    result: np.ndarray | None = None
    width, span, level = 0, 1, 2
    while True:
        if length & span:
            if result is None:
                result = doubled
            else:
                ends = len(tokens) - width - span + 1
                result = result[:ends] * _FACTORS[level] + doubled[width : width + ends]
            width += span
        if width == length:
            break
        doubled = doubled[:-span] * _FACTORS[level + 1] + doubled[span:]
        span, level = 2 * span, level + 2
    assert result is not None
    return result


class _Index:
    """The runs of all samples, and what was found of them so far."""

    def __init__(self, samples: Sequence[np.ndarray], run: int, barred: Sequence[int]) -> None:
        self._run = run
        lengths = np.array([len(sample) for sample in samples], np.int64)
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self._ids = np.concatenate([np.zeros(0, np.int64), *samples]).astype(np.int64)
        self._barred = np.array(barred, np.int64)
        self._longest = int(lengths.max(initial=0))
        total = len(self._ids)
        self._is_run = np.zeros(total, np.bool_)
        for start, length in zip(self._starts, lengths, strict=False):
            self._is_run[start : start + max(length - run + 1, 0)] = True
        self._is_whole = self._is_run.copy()  # without a barred token
        for place in np.flatnonzero(np.isin(self._ids, self._barred)):
            self._is_whole[max(place - run + 1, 0) : place + 1] = False
        self._is_copied = np.zeros(total, np.bool_)
        self._best_tokens = np.zeros(total, np.int64)
        self._best_positions = np.zeros(total, np.int64)
        self._make_table()

    def _make_table(self) -> None:
        """The distinct hashes, sorted, and for each the places of its runs."""
        places = np.flatnonzero(self._is_whole)
        hashes = np.zeros(0, np.uint64)
        if len(places):
            hashes = hash_runs(self._ids, self._run)[places]
        order = np.argsort(hashes, kind="stable")
        self._places = places[order]
        self._keys, self._firsts, counts = np.unique(
            hashes[order], return_index=True, return_counts=True
        )
        self._counts = np.minimum(counts, OCCURRENCES_AT_MOST)
        self._all_counts = counts
        self._filter = np.zeros(1 << FILTER_BITS, np.bool_)
        self._filter[self._keys >> np.uint64(64 - FILTER_BITS)] = True

    def scan(self, text: np.ndarray, start: int, stop: int) -> None:
        """Look for runs that begin in text[start:stop], with what follows them for long ones."""
        if not len(self._keys):
            return
        piece = np.asarray(text[start : stop + self._longest + self._run])
        hashes = hash_runs(piece, self._run)
        offsets = np.flatnonzero(self._filter[hashes >> np.uint64(64 - FILTER_BITS)])
        keys = np.searchsorted(self._keys, hashes[offsets])
        keys = np.minimum(keys, len(self._keys) - 1)
        is_hit = self._keys[keys] == hashes[offsets]
        offsets, keys = offsets[is_hit], keys[is_hit]
        pairs = int(self._counts[keys].sum())
        if pairs > PAIRS_AT_MOST and stop - start > max(self._longest, 64):
            middle = (start + stop) // 2
            self.scan(text, start, middle)
            self.scan(text, middle, stop)
        elif pairs:
            self._mark(piece, offsets, keys)
            self._join(start, offsets, keys)

    def _mark(self, piece: np.ndarray, offsets: np.ndarray, keys: np.ndarray) -> None:
        """Note which runs of the samples stand in a piece, each compared with it."""
        found, first = np.unique(keys, return_index=True)
        is_new = ~self._is_copied[self._places[self._firsts[found]]]
        found, first = found[is_new], first[is_new]
        steps = np.arange(self._run)
        there = piece[offsets[first][:, None] + steps]
        here = self._ids[self._places[self._firsts[found]][:, None] + steps]
        for key in found[(there == here).all(axis=1)]:
            places = slice(self._firsts[key], self._firsts[key] + self._all_counts[key])
            self._is_copied[self._places[places]] = True

    def _join(self, start: int, offsets: np.ndarray, keys: np.ndarray) -> None:
        """Join hits that follow one another into passages, and keep the longest of each place."""
        counts = self._counts[keys]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        here = self._places[np.repeat(self._firsts[keys], counts) + within]
        there = np.repeat(offsets, counts) + start
        order = np.lexsort((there, there - here))
        here, there = here[order], there[order]
        is_first = np.ones(len(here), np.bool_)
        is_first[1:] = (np.diff(there) != 1) | (np.diff(here) != 1)
        begins = np.flatnonzero(is_first)
        tokens = np.diff(np.append(begins, len(here))) + self._run - 1
        here, there = here[begins], there[begins]
        order = np.lexsort((-there, tokens))  # the last one written is the longest, the first there
        here, there, tokens = here[order], there[order], tokens[order]
        is_longer = tokens > self._best_tokens[here]
        self._best_tokens[here[is_longer]] = tokens[is_longer]
        self._best_positions[here[is_longer]] = there[is_longer]

    def conclude(self, text: np.ndarray, most: int, listed: int) -> Copies:
        """The figures, and the longest passages of the first samples."""
        return Copies(
            self._count(self._is_copied),
            self._count(self._is_run),
            tuple(self._list_matches(text, most, listed)),
        )

    def _count(self, marked: np.ndarray) -> tuple[int, ...]:
        """How many places of each sample are marked."""
        parts = pairwise(self._starts.tolist())
        return tuple(int(marked[start:stop].sum()) for start, stop in parts)

    def _list_matches(self, text: np.ndarray, most: int, listed: int) -> list[Match]:
        """The longest passages, each extended, without those inside another one."""
        matches: list[Match] = []
        seen: set[bytes] = set()
        is_taken = np.zeros(len(self._ids), np.bool_)
        places = np.flatnonzero(self._best_tokens[: self._starts[listed]])
        extended = [self._extend(text, int(place)) for place in places]
        for place, tokens, position in sorted(extended, key=lambda each: (-each[1], each[0])):
            if len(matches) == most:
                break
            content = self._ids[place : place + tokens].tobytes()
            if tokens < self._run or is_taken[place : place + tokens].any() or content in seen:
                continue
            is_taken[place : place + tokens] = True
            seen.add(content)
            sample = int(np.searchsorted(self._starts, place, side="right")) - 1
            matches.append(Match(sample, place - int(self._starts[sample]), tokens, position))
        return matches

    def _extend(self, text: np.ndarray, place: int) -> tuple[int, int, int]:
        """The passage around a place as far as it goes: its place, tokens, position in the text."""
        sample = int(np.searchsorted(self._starts, place, side="right")) - 1
        position = int(self._best_positions[place])
        after = self._compare(
            self._ids[place : self._starts[sample + 1]], text[position : position + self._longest]
        )
        back = min(place - int(self._starts[sample]), position)
        before = self._compare(
            self._ids[place - back : place][::-1], text[position - back : position][::-1]
        )
        return place - before, before + after, position - before

    def _compare(self, here: np.ndarray, there: np.ndarray) -> int:
        """How many tokens are the same from the first on, up to one that is no word."""
        length = min(len(here), len(there))
        differs = (here[:length] != there[:length]) | np.isin(here[:length], self._barred)
        return int(np.argmax(differs)) if differs.any() else length
