"""Which tokens may be drawn: top-k, top-p, min-p and typical-p, without sorting the vocabulary.

Pure functions over the N tokens of one row. At least one token always stays, and of tokens that
are equal, those with the lowest places stay. `generation.sampling` gives the order.
"""

from __future__ import annotations

import numpy as np

SORTED_AT_ONCE = 512  # more tokens are put in bins first, and only one bin is sorted
BINS, BINS_PER_NAT = 2048, 32


def find_top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """The places of the k largest of (N,), 1 <= k <= N, ascending.

    Not all are sorted: at least k numbers reach the k-th largest of some groups' maxima, so those
    below it are out at once.

    >>> find_top_k(np.array([1.0, 2.0, 1.0, 0.0]), 2)
    array([0, 1])
    """
    N = len(logits)
    groups = max(256, 2 * k)
    if 4 * groups > N:
        places = np.arange(N)
    else:
        grouped = logits[: N - N % groups].reshape(-1, groups)
        bound = np.partition(grouped.max(axis=0), groups - k)[groups - k]
        places = np.flatnonzero(logits >= bound)
    values = logits[places]
    least = np.partition(values, len(values) - k)[len(values) - k]
    above, tied = values > least, values == least
    tied[np.flatnonzero(tied)[k - np.count_nonzero(above) :]] = False
    kept: np.ndarray = places[above | tied]
    return kept


def find_top_p(gaps: np.ndarray, weights: np.ndarray, p: float) -> np.ndarray:
    """Which are the fewest likeliest tokens whose probabilities reach p, bool (N,).

    Args:
        gaps: logarithms of the weights, at most 0 (N,).
        weights: exp(gaps), probabilities but for a factor (N,); 0 for a token that is out.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.

    >>> probabilities = np.array([0.125, 0.5, 0.25, 0.125])
    >>> find_top_p(np.log(probabilities), probabilities, 0.6).tolist()
    [False, True, True, False]
    """
    return _find_fewest(-gaps, weights, p)


def find_min_p(weights: np.ndarray, min_p: float) -> np.ndarray:
    """Which tokens are at least `min_p` times as likely as the likeliest, bool (N,).

    Source: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", section 3.

    >>> find_min_p(np.array([0.5, 0.3, 0.2]), 0.5).tolist()
    [True, True, False]
    """
    likely: np.ndarray = weights >= min_p * weights.max()
    return likely


def find_typical(gaps: np.ndarray, weights: np.ndarray, p: float) -> np.ndarray:
    """Which are the fewest tokens that reach p, the most typical ones first, bool (N,).

        |-log p_i - H|,    H = -sum p_i log p_i

    says how far the surprise of token i is from what is to be expected. The likeliest token may be
    out. Args are those of `find_top_p`.

    Source: Meister et al. 2023, "Locally Typical Sampling", section 4, equation 10.

    >>> probabilities = np.array([0.7, 0.1, 0.1, 0.1])  # H = 0.940; surprises 0.357 and 2.303
    >>> find_typical(np.log(probabilities), probabilities, 0.5).tolist()
    [True, False, False, False]
    """
    is_in = weights > 0.0
    mean_gap = np.sum(np.multiply(gaps, weights, where=is_in, out=np.zeros_like(gaps)))
    mean_gap /= weights.sum()
    # -log p_i - H = -(gap_i - log W) - (log W - mean gap),  W being all weight
    return _find_fewest(np.abs(mean_gap - gaps), weights, p)


def _find_fewest(keys: np.ndarray, weights: np.ndarray, p: float) -> np.ndarray:
    """Which are the fewest with the smallest keys that reach p of all weight, bool (N,).

    Where there are many, the keys (N,), at least 0, are put in bins by size; all of a bin are kept
    while the weight is not reached, and only the bin in which it is reached is sorted.
    """
    wanted = p * weights.sum()
    if len(keys) <= SORTED_AT_ONCE:
        kept = np.zeros(len(keys), np.bool_)
        kept[_take_in_order(np.arange(len(keys)), keys, weights, wanted)] = True
        return kept
    scaled = keys * BINS_PER_NAT
    bins = np.minimum(scaled, BINS - 1, out=scaled).astype(np.intp)
    reached = np.cumsum(np.bincount(bins, weights))
    last = min(int(np.searchsorted(reached, wanted)), len(reached) - 1)
    before = reached[last - 1] if last else 0.0
    taken = _take_in_order(np.flatnonzero(bins == last), keys, weights, wanted - before)
    fewest: np.ndarray = bins < last
    fewest[taken] = True
    return fewest


def _take_in_order(
    places: np.ndarray, keys: np.ndarray, weights: np.ndarray, wanted: float
) -> np.ndarray:
    """The fewest of `places` with the smallest keys that reach the weight `wanted`; at least 1."""
    ordered = places[np.argsort(keys[places], kind="stable")]
    sums = np.cumsum(weights[ordered])
    taken = int(np.searchsorted(sums, wanted)) + 1
    fewest: np.ndarray = ordered[:taken]
    return fewest
