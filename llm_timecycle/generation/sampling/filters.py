"""Filters, which remove tokens before the draw: top-k, top-p, min-p, typical-p and XTC.

Pure functions; every row is filtered separately. At least one token always stays, and of equal
tokens, those with the lowest index stay. None of them sorts a whole vocabulary. `pipeline` defines
their order. What looks at the text before is in `repeats`.

Shapes: B rows, N tokens.
"""

from __future__ import annotations

import numpy as np

SORTED_AT_MOST = 512  # tokens; more go into bins first, and only one bin is sorted
BINS, BINS_PER_NAT = 2048, 32


def find_top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """Top-k: the indices of the k largest logits of each row, ascending, (B, k).

        keep i  where  |{j : l_j > l_i}| < k

    The k-th largest of the maxima of disjoint groups is a lower bound of the k-th largest logit,
    so only the few logits that reach it are sorted.

    Args:
        logits: (B, N).
        k: how many to keep, 1 <= k <= N.

    Source: Fan, Lewis, Dauphin 2018, "Hierarchical Neural Story Generation".

    >>> find_top_k(np.array([[1.0, 2.0, 1.0, 0.0]]), 2)
    array([[0, 1]])
    """
    B, N = logits.shape
    groups = max(256, 2 * k)
    if 4 * groups > N:
        return np.sort(np.argsort(-logits, axis=1, kind="stable")[:, :k], axis=1)
    grouped = logits[:, : N - N % groups].reshape(B, -1, groups)
    bounds = np.partition(grouped.max(axis=1), groups - k, axis=1)[:, groups - k]
    near = np.flatnonzero(logits >= bounds[:, np.newaxis])  # at least k in each row
    rows, indices = np.divmod(near, N)
    order = np.lexsort((-logits.ravel()[near], rows))
    starts = np.searchsorted(rows, np.arange(B))
    return np.sort(indices[order[starts[:, np.newaxis] + np.arange(k)]], axis=1)


def mask_top_p(gaps: np.ndarray, weights: np.ndarray, p: float) -> np.ndarray:
    """Top-p (nucleus): the smallest set of likeliest tokens with probability p, bool (B, N).

        keep the smallest set S with  sum over S of p_i >= p,  the likeliest tokens first

    Args:
        gaps: log p_i - max log p, at most 0, (B, N).
        weights: exp(gaps), the probabilities up to a factor, (B, N); 0 for a removed token.
        p: above 0 and at most 1.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.

    >>> probabilities = np.array([[0.125, 0.5, 0.25, 0.125]])
    >>> mask_top_p(np.log(probabilities), probabilities, 0.6).tolist()
    [[False, True, True, False]]
    """
    return _mask_fewest(-gaps, weights, p)


def mask_min_p(weights: np.ndarray, min_p: float) -> np.ndarray:
    """Min-p: the tokens at least `min_p` times as likely as the likeliest one, bool (B, N).

        keep i  where  p_i >= min_p * max p

    Args:
        weights: the probabilities up to a factor, (B, N); 0 for a removed token.
        min_p: from 0 to 1.

    Source: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", section 3.

    >>> mask_min_p(np.array([[0.5, 0.3, 0.2]]), 0.5).tolist()
    [[True, True, False]]
    """
    likely: np.ndarray = weights >= min_p * weights.max(axis=1, keepdims=True)
    return likely


def mask_typical_p(gaps: np.ndarray, weights: np.ndarray, p: float) -> np.ndarray:
    """Typical-p: the smallest set of most typical tokens with probability p, bool (B, N).

        keep the smallest set S with  sum over S of p_i >= p,  the smallest |-log p_i - H| first,
        H = -sum p_i log p_i

    A token is typical if its surprise -log p_i is close to the expected one, the entropy H. The
    likeliest token may be removed.

    Args:
        gaps, weights, p: see `mask_top_p`.

    Source: Meister et al. 2023, "Locally Typical Sampling", section 4, equation 10.

    >>> probabilities = np.array([[0.7, 0.1, 0.1, 0.1]])  # H = 0.940; surprises 0.357 and 2.303
    >>> mask_typical_p(np.log(probabilities), probabilities, 0.5).tolist()
    [[True, False, False, False]]
    """
    products = np.multiply(gaps, weights, where=weights > 0.0, out=np.zeros_like(gaps))
    mean_gap = products.sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
    # -log p_i - H = -(gap_i - log W) - (log W - mean gap),  with W the sum of all weights
    return _mask_fewest(np.abs(mean_gap - gaps), weights, p)


def mask_xtc(weights: np.ndarray, threshold: float) -> np.ndarray:
    """XTC ("exclude top choices"): all but the likely tokens, and the least of these, bool (B, N).

        keep i  where  p_i < threshold,  or  p_i = min {p_j : p_j >= threshold}

    So a token that is likely enough stays, but not the likeliest, unless it is the only one.

    Args:
        weights: the probabilities up to a factor, (B, N); 0 for a removed token.
        threshold: a probability; above 0.5 no two tokens can reach it.

    Source: Weidmann (p-e-w) 2024, pull request 6335 of text-generation-webui.

    >>> mask_xtc(np.array([[0.5, 0.25, 0.15, 0.1]]), 0.15).tolist()
    [[False, False, True, True]]
    """
    is_likely = weights >= threshold * weights.sum(axis=1, keepdims=True)
    kept: np.ndarray = ~is_likely
    least = np.where(is_likely, weights, np.inf).argmin(axis=1)  # if none is likely, all stay
    kept[np.arange(len(kept)), least] = True
    return kept


def _mask_fewest(keys: np.ndarray, weights: np.ndarray, p: float) -> np.ndarray:
    """The smallest set of tokens, smallest keys first, with a share p of the weight (B, N)."""
    wanted = p * weights.sum(axis=1, keepdims=True)
    if keys.shape[1] <= SORTED_AT_MOST:
        return _mask_by_sorting(keys, weights, wanted)
    rows = zip(keys, weights, wanted[:, 0], strict=True)
    return np.stack([_mask_by_bins(*row) for row in rows])


def _mask_by_sorting(keys: np.ndarray, weights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """`_mask_fewest` by sorting; each row must reach the weight `wanted` (B, 1)."""
    order = np.argsort(keys, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    # One more than the sums that fall short; all, if rounding leaves every sum short.
    taken = np.count_nonzero(sums < wanted, axis=1, keepdims=True) + 1
    fewest = np.empty(keys.shape, np.bool_)
    np.put_along_axis(fewest, order, np.arange(keys.shape[1]) < taken, axis=1)
    return fewest


def _mask_by_bins(keys: np.ndarray, weights: np.ndarray, wanted: float) -> np.ndarray:
    """`_mask_fewest` of one row (N,), for a large N.

    The keys, at least 0, go into bins by size. Every bin is kept whole until the weight `wanted` is
    reached; only the bin that reaches it is sorted.
    """
    bins = np.minimum(keys * BINS_PER_NAT, BINS - 1).astype(np.intp)
    reached = np.cumsum(np.bincount(bins, weights))
    last = min(int(np.searchsorted(reached, wanted)), len(reached) - 1)
    before = reached[last - 1] if last else 0.0
    indices = np.flatnonzero(bins == last)
    in_last = _mask_by_sorting(
        keys[np.newaxis, indices], weights[np.newaxis, indices], np.array([[wanted - before]])
    )
    fewest: np.ndarray = bins < last
    fewest[indices[in_last[0]]] = True
    return fewest
