"""The continuous neural cache: a word that was used lately is likely to come again.

The cache keeps the last W pairs of a hidden vector and the token that followed it. What followed
vectors like the present one is given probability, and the model's distribution is mixed with it:

    p_cache(w | t) = sum_i 1[x_{i+1} = w] exp(theta h_t . h_i) / sum_i exp(theta h_t . h_i),
    p(w | t) = (1 - lambda) p_model(w | t) + lambda p_cache(w | t),    i = t - W, ..., t - 1

h_i is what goes into the output layer after token x_i was read. Where a document begins, the cache
is empty, and an empty cache leaves the model's distribution as it is.

Source: Grave, Joulin and Usunier 2017, "Improving Neural Language Models with a Continuous Cache",
equations 2 and 3 (linear interpolation).
"""

from __future__ import annotations

import numpy as np

from llm_timecycle.reference.arrays import Array, Integers, check_shape


def compute_cache_distribution(
    hidden: Array,
    following: Integers,
    query: Array,
    *,
    vocab_size: int,
    window: int,
    theta: float,
) -> Array | None:
    """p_cache over the vocabulary (V,); None where the cache is empty.

    Args:
        hidden: h_i of all earlier tokens of the document, oldest first (N, H).
        following: the token after each of them (N,).
        query: h_t (H,).
        vocab_size: V.
        window: W, how many of the latest pairs count.
        theta: how sharply likeness is judged.

    Raises:
        UsageError: the shapes do not fit.

    >>> hidden = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    >>> query = np.array([1.0, 0.0])
    >>> p = compute_cache_distribution(  # exp(0) for token 2, twice exp(log 2) for token 1
    ...     hidden, np.array([2, 1, 1]), query, vocab_size=3, window=3, theta=float(np.log(2))
    ... )
    >>> p.round(6).tolist()
    [0.0, 0.8, 0.2]
    """
    check_shape("following", following, hidden.shape[:1])
    check_shape("query", query, hidden.shape[1:])
    kept, tokens = hidden[-window:], following[-window:]
    if len(kept) == 0:
        return None
    scores = theta * (kept @ query)
    weights = np.exp(scores - scores.max())
    p: Array = np.zeros(vocab_size, weights.dtype)
    for weight, token in zip(weights, tokens, strict=True):
        p[token] += weight
    normalized: Array = p / weights.sum()
    return normalized


def mix_with_cache(p_model: Array, p_cache: Array | None, weight: float) -> Array:
    """p = (1 - lambda) p_model + lambda p_cache (V,); p_model where the cache is empty.

    Args:
        p_model: the model's distribution (V,). p_cache: the cache's (V,).
        weight: lambda.

    >>> mix_with_cache(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 0.25).tolist()
    [0.625, 0.375]
    """
    return p_model if p_cache is None else (1 - weight) * p_model + weight * p_cache
