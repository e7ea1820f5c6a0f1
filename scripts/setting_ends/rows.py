"""Rows: ends that go together, drawn so that few rows hold all that is to be tried."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from setting_ends.ends import End

Row = tuple[End, ...]
Refuses = Callable[[Row], object | None]


def cover_singles(ends: Sequence[End], refuses: Refuses, draw: random.Random) -> Iterator[Row]:
    """Rows that hold every end once or more, each as many as go together.

    An end that is refused with all others small is tried beside each of the others; one that is
    refused even then is in no row.

    Args:
        refuses: not None for ends that do not go together.
        draw: in which order they are tried.
    """
    left = list(ends)
    while left:
        draw.shuffle(left)
        starts = ((left[0],), *((left[0], other) for other in ends if other.path != left[0].path))
        row = next((start for start in starts if refuses(start) is None), ())
        for end in 2 * left if row else []:  # what is refused at first may go with what came later
            is_new = end.path not in {path for path, _ in row}
            if is_new and refuses((*row, end)) is None:
                row = (*row, end)
        if row:
            yield row
        left = [end for end in left[1:] if end not in row]


def cover_pairs(
    pairs: set[frozenset[int]],
    ends: Sequence[End],
    refuses: Refuses,
    draw: random.Random,
) -> Iterator[Row]:
    """Rows that hold every pair, given as indices of `ends`; the set empties as they are made."""
    partners: dict[int, set[int]] = {}
    for first, second in map(tuple, pairs):
        partners.setdefault(first, set()).add(second)
        partners.setdefault(second, set()).add(first)
    allowed = {first: set(others) for first, others in partners.items()}
    while pairs:
        chosen = list(draw.choice(sorted(map(sorted, pairs))))
        paths = sorted({ends[index].path for index in partners})
        draw.shuffle(paths)
        for path in paths:
            if path in {ends[index].path for index in chosen}:
                continue
            gains = {
                index: len(partners[index] & set(chosen))
                for index in partners
                if ends[index].path == path and allowed[index] >= set(chosen)
            }
            for index in sorted(gains, key=lambda index: -gains[index]):
                row = tuple(ends[each] for each in (*chosen, index))
                if gains[index] > 0 and refuses(row) is None:
                    chosen.append(index)
                    break
        for first, second in combinations(chosen, 2):
            pairs.discard(frozenset((first, second)))
            partners[first].discard(second)
            partners[second].discard(first)
        yield tuple(ends[index] for index in chosen)


def shrink(row: Row, fails: Callable[[Row], bool]) -> Row:
    """The fewest ends that still fail: parts are left out as long as it does without them."""
    size = len(row) // 2
    while size > 0:
        for start in range(0, len(row), size):
            rest = row[:start] + row[start + size :]
            if rest and fails(rest):
                row = rest
                break
        else:
            size //= 2
    return row
