"""Which tokens may be drawn: top-k, top-p, min-p and typical-p, without sorting the vocabulary.

Pure functions over rows of N tokens, each row by itself. At least one token always stays, and of
tokens that are equal, those with the lowest places stay. `generation.sampling.pipeline` gives the order.

Shapes: B rows, N tokens.
"""

from __future__ import annotations

import numpy as np

SORTED_AT_ONCE = 512  # more tokens are put in bins first, and only one bin is sorted
BINS, BINS_PER_NAT = 2048, 32


def find_top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """The places of the k largest of each row of (B, N), 1 <= k <= N, ascending (B, k).

    Not all are sorted: at least k numbers reach the k-th largest of some groups' maxima, so those
    below it are out at once.

    >>> find_top_k(np.array([[1.0, 2.0, 1.0, 0.0]]), 2)
    array([[0, 1]])
    """
    B, N = logits.shape
    groups = max(256, 2 * k)
    if 4 * groups > N:
        return np.sort(np.argsort(-logits, axis=1, kind="stable")[:, :k], axis=1)
    grouped = logits[:, : N - N % groups].reshape(B, -1, groups)
    bounds = np.partition(grouped.max(axis=1), groups - k, axis=1)[:, groups - k]
    near = np.flatnonzero(logits >= bounds[:, np.newaxis])  # at least k of each row
    rows, places = np.divmod(near, N)
    order = np.lexsort((-logits.ravel()[near], rows))
    starts = np.searchsorted(rows, np.arange(B))
    return np.sort(places[order[starts[:, np.newaxis] + np.arange(k)]], axis=1)


def mask_top_p(gaps: np.ndarray, weights: np.ndarray, p: float) -> np.ndarray:
    """Which are the fewest likeliest tokens whose probabilities reach p, bool (B, N).

    Args:
        gaps: logarithms of the weights, at most 0 (B, N).
        weights: exp(gaps), probabilities but for a factor (B, N); 0 for a token that is out.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.

    >>> probabilities = np.array([[0.125, 0.5, 0.25, 0.125]])
    >>> mask_top_p(np.log(probabilities), probabilities, 0.6).tolist()
    [[False, True, True, False]]
    """
    return _find_fewest(-gaps, weights, p)


def mask_min_p(weights: np.ndarray, min_p: float) -> np.ndarray:
    """Which tokens are at least `min_p` times as likely as the likeliest, bool (B, N).

    Source: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", section 3.

    >>> mask_min_p(np.array([[0.5, 0.3, 0.2]]), 0.5).tolist()
    [[True, True, False]]
    """
    likely: np.ndarray = weights >= min_p * weights.max(axis=1, keepdims=True)
    return likely


def mask_typical_p(gaps: np.ndarray, weights: np.ndarray, p: float) -> np.ndarray:
    """Which are the fewest tokens that reach p, the most typical ones first, bool (B, N).

        |-log p_i - H|,    H = -sum p_i log p_i

    says how far the surprise of token i is from what is to be expected. The likeliest token may be
    out. Args are those of `mask_top_p`.

    Source: Meister et al. 2023, "Locally Typical Sampling", section 4, equation 10.

    >>> probabilities = np.array([[0.7, 0.1, 0.1, 0.1]])  # H = 0.940; surprises 0.357 and 2.303
    >>> mask_typical_p(np.log(probabilities), probabilities, 0.5).tolist()
    [[True, False, False, False]]
    """
    products = np.multiply(gaps, weights, where=weights > 0.0, out=np.zeros_like(gaps))
    mean_gap = products.sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
    # -log p_i - H = -(gap_i - log W) - (log W - mean gap),  W being all weight
    return _find_fewest(np.abs(mean_gap - gaps), weights, p)


def _find_fewest(keys: np.ndarray, weights: np.ndarray, p: float) -> np.ndarray:
    """Which are the fewest with the smallest keys that reach p of all weight, bool (B, N)."""
    wanted = p * weights.sum(axis=1, keepdims=True)
    if keys.shape[1] <= SORTED_AT_ONCE:
        return _find_by_sorting(keys, weights, wanted)
    rows = zip(keys, weights, wanted[:, 0], strict=True)
    return np.stack([_find_by_bins(*row) for row in rows])


def _find_by_sorting(keys: np.ndarray, weights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The fewest of each row that reach its weight `wanted` (B, 1); at least 1."""
    order = np.argsort(keys, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    # One more than are not enough; where rounding leaves all of them short, all.
    taken = np.count_nonzero(sums < wanted, axis=1, keepdims=True) + 1
    fewest = np.empty(keys.shape, np.bool_)
    np.put_along_axis(fewest, order, np.arange(keys.shape[1]) < taken, axis=1)
    return fewest


def _find_by_bins(keys: np.ndarray, weights: np.ndarray, wanted: float) -> np.ndarray:
    """The same of one row (N,) of many.

    The keys, at least 0, are put in bins by size; all of a bin are kept while the weight is not
    reached, and only the bin in which it is reached is sorted.
    """
    bins = np.minimum(keys * BINS_PER_NAT, BINS - 1).astype(np.intp)
    reached = np.cumsum(np.bincount(bins, weights))
    last = min(int(np.searchsorted(reached, wanted)), len(reached) - 1)
    before = reached[last - 1] if last else 0.0
    places = np.flatnonzero(bins == last)
    in_last = _find_by_sorting(
        keys[np.newaxis, places], weights[np.newaxis, places], np.array([[wanted - before]])
    )
    fewest: np.ndarray = bins < last
    fewest[places[in_last[0]]] = True
    return fewest
