"""How much of a text occurs word for word in another one, every run of bytes compared."""

from __future__ import annotations

from collections import Counter


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
