"""How texts of different lengths are read together: all first tokens, then all second ones ...

Shapes: B rows, T tokens of each, N tokens of all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A window is what a layer reads while the layer above reads the window before: so many tokens of
# each row, or fewer, so that short prompts keep several cores at work, too.
LONGEST_WINDOW, WINDOWS = 64, 4
TOKENS_AT_LEAST = 8  # of all rows, which are one product

Span = tuple[int, int]
"""B and T: each of the first B rows reads T tokens."""


def cut_into_windows(lengths: Sequence[int]) -> list[list[Span]]:
    """The windows of texts of these lengths, the longest first; each as spans of equal rows.

    >>> cut_into_windows([20, 17, 3])
    [[(3, 3), (2, 2)], [(2, 5)], [(2, 5)], [(2, 2), (1, 3)]]
    """
    longest, rows = lengths[0], len(lengths)
    size = min(LONGEST_WINDOW, max(-(-TOKENS_AT_LEAST // rows), -(-longest // WINDOWS)))
    windows: list[list[Span]] = []
    for start in range(0, longest, size):
        spans, end = [], min(start + size, longest)
        while start < end:
            while lengths[rows - 1] <= start:
                rows -= 1
            stop = min(end, lengths[rows - 1])
            spans.append((rows, stop - start))
            start = stop
        windows.append(spans)
    return windows


def order_by_time(texts: Sequence[np.ndarray], lengths: np.ndarray) -> np.ndarray:
    """All ids, the first of each text first, then the second of each, and so on.

    >>> order_by_time([np.array([1, 2, 3]), np.array([4])], np.array([3, 1])).tolist()
    [1, 4, 2, 3]
    """
    is_token = np.arange(lengths[0]) < lengths[:, np.newaxis]
    ids = np.zeros(is_token.shape, np.int64)
    ids[is_token] = np.concatenate(texts)
    ordered: np.ndarray = ids.T[is_token.T]
    return ordered
