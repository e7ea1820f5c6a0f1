"""How much of a text occurs word for word in another one, every run of bytes compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def compute_overlap_share(text: bytes, training: bytes, length: int) -> float:
    """The share of the runs of `length` bytes in a text that occur in the training text too.

    >>> compute_overlap_share(b"abcx", b"0abc", 3)  # abc does, bcx does not
    0.5
    """
    runs, known = _list_runs(text, length), set(_list_runs(training, length))
    return sum(run in known for run in runs) / len(runs)


def compute_repeated_share(training: bytes, length: int) -> float:
    """The share of the runs of `length` bytes in a text that occur in it more than once.

    >>> compute_repeated_share(b"aaab", 2)  # aa, aa, ab
    0.6666666666666666
    """
    counts = Counter(_list_runs(training, length))
    return sum(count for count in counts.values() if count > 1) / counts.total()


def _list_runs(text: bytes, length: int) -> list[bytes]:
    return [text[start : start + length] for start in range(len(text) - length + 1)]


def find_longest_copy(sample: Sequence[int], text: Sequence[int]) -> tuple[int, int, int]:
    """The longest passage of a sample that stands in a text: its start, its length, its place.

    Of several as long, the one that begins first in the sample, at its first place in the text.

    length[i, j] = length[i + 1, j + 1] + 1 where sample[i] = text[j], else 0

    >>> find_longest_copy([9, 1, 2, 3, 8], [1, 2, 0, 1, 2, 3])
    (1, 3, 3)
    """
    best, after = (0, 0, 0), [0] * (len(text) + 1)
    for start in range(len(sample) - 1, -1, -1):
        lengths = [0] * (len(text) + 1)
        for place in range(len(text) - 1, -1, -1):
            if sample[start] == text[place]:
                lengths[place] = after[place + 1] + 1
                if lengths[place] >= best[1]:
                    best = start, lengths[place], place
        after = lengths
    return best
