"""The losses: squared error, and cross-entropy from logits, each with its gradient.

A mean is over all positions, or with a `mask` over those where it is True. Losses are in nats
where they are logarithms. Source: Goodfellow, Bengio and Courville 2016, "Deep Learning".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.arrays import Array, Integers, Mask, check_shape, check_tokens


def compute_half_squared_error(predictions: Array, targets: Array) -> float:
    """Half the squared distance between what was predicted and what was right.

        loss = 1/2 sum_i (p_i - t_i)^2

    Args:
        predictions: p, any shape. targets: t, the same shape.

    Raises:
        UsageError: the shapes differ.

    >>> compute_half_squared_error(np.array([2.0]), np.array([3.0]))
    0.5
    """
    check_shape("targets", targets, predictions.shape)
    return float(np.sum((predictions - targets) ** 2) / 2)


def differentiate_half_squared_error(predictions: Array, targets: Array) -> Array:
    """The gradient of the half squared error for the predictions; the half is there to make it so.

        dloss/dp = p - t

    Args:
        predictions: p, any shape. targets: t, the same shape.

    Raises:
        UsageError: the shapes differ.

    >>> differentiate_half_squared_error(np.array([2.0]), np.array([3.0])).tolist()
    [-1.0]
    """
    check_shape("targets", targets, predictions.shape)
    return predictions - targets


def compute_mean_squared_error(
    predictions: Array, targets: Array, mask: Mask | None = None
) -> float:
    """The mean of the squared differences over the n numbers that count.

        loss = 1/n sum_i (p_i - t_i)^2

    Args:
        predictions: p, any shape. targets: t, the same shape.
        mask: the same shape, True where a number counts; None counts all.

    Raises:
        UsageError: the shapes differ, or nothing counts.

    >>> compute_mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    2.0

    Source: Goodfellow et al. 2016, equation 5.4.
    """
    check_shape("targets", targets, predictions.shape)
    weights = _weigh_positions(predictions, mask)
    return float(np.sum(weights * (predictions - targets) ** 2))


def differentiate_mean_squared_error(
    predictions: Array, targets: Array, mask: Mask | None = None
) -> Array:
    """The gradient of the mean squared error for the predictions.

        dloss/dp_i = 2/n (p_i - t_i), and 0 where the mask is False

    Args and errors: those of `compute_mean_squared_error`.

    >>> differentiate_mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0])).tolist()
    [0.0, -2.0]
    """
    check_shape("targets", targets, predictions.shape)
    return _weigh_positions(predictions, mask) * 2 * (predictions - targets)


def log_softmax(logits: Array) -> Array:
    """The logarithm of the probabilities that logits stand for.

        log softmax(z)_v = z_v - log sum_w exp(z_w)

    The largest logit is taken off first, which changes nothing and keeps exp from overflowing.

    Args:
        logits: z (..., V); the result has the same shape.

    >>> np.exp(log_softmax(np.log(np.array([1.0, 3.0])))).round(6).tolist()
    [0.25, 0.75]

    Source: Goodfellow et al. 2016, section 6.2.2.3, equations 6.29 to 6.34.
    """
    shifted = logits - np.max(logits, axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True)))


def make_one_hot(targets: Integers, vocab_size: int, dtype: np.dtype[Any] | type[Any]) -> Array:
    """Targets (...) as rows (..., V) that are 1 at the target and 0 elsewhere.

    Raises:
        UsageError: a target is not in 0 to V - 1.

    >>> make_one_hot(np.array([2, 0]), 3, np.float64).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    check_tokens("targets", targets, vocab_size)
    return np.asarray(targets[..., np.newaxis] == np.arange(vocab_size)).astype(dtype)


def compute_token_losses(logits: Array, targets: Integers) -> Array:
    """The cross-entropy at each position, in nats: how surprising the target was.

        loss = -log softmax(z)[target]

    Args:
        logits: z (..., V). targets: integers (...), each 0 to V - 1.

    Returns:
        The losses (...).

    Raises:
        UsageError: the shapes do not fit, or a target is not in the vocabulary.

    >>> compute_token_losses(np.log(np.array([[0.9, 0.1]])), np.array([0])).round(6).tolist()
    [0.105361]

    Source: Goodfellow et al. 2016, section 6.2.2.3, equation 6.30.
    """
    check_shape("targets", targets, logits.shape[:-1])
    check_tokens("targets", targets, logits.shape[-1])
    log_p = np.take_along_axis(log_softmax(logits), targets[..., np.newaxis], axis=-1)
    return np.asarray(-log_p[..., 0])


def compute_cross_entropy(logits: Array, targets: Integers, mask: Mask | None = None) -> float:
    """The mean cross-entropy over the n positions that count, in nats.

        loss = 1/n sum -log softmax(z)[target]

    Args:
        logits: z (..., V). targets: integers (...), each 0 to V - 1.
        mask: (...), True where a position counts; None counts all.

    Raises:
        UsageError: the shapes do not fit, a target is not in the vocabulary, or nothing counts.

    >>> round(compute_cross_entropy(np.log(np.array([[0.9, 0.1]])), np.array([0])), 6)
    0.105361
    """
    losses = compute_token_losses(logits, targets)
    return float(np.sum(_weigh_positions(losses, mask) * losses))


def differentiate_cross_entropy(
    logits: Array, targets: Integers, mask: Mask | None = None
) -> Array:
    """The gradient of the mean cross-entropy for the logits (..., V).

        dloss/dz = 1/n (softmax(z) - one_hot(target)), and 0 where the mask is False

    Args and errors: those of `compute_cross_entropy`.

    >>> logits = np.log(np.array([[0.9, 0.1]]))
    >>> differentiate_cross_entropy(logits, np.array([0])).round(6).tolist()
    [[-0.1, 0.1]]
    """
    check_shape("targets", targets, logits.shape[:-1])
    one_hot = make_one_hot(targets, logits.shape[-1], logits.dtype)
    return differentiate_one_hot_cross_entropy(logits, one_hot, mask)


def compute_one_hot_cross_entropy(logits: Array, one_hot: Array, mask: Mask | None = None) -> float:
    """The mean categorical cross-entropy against a distribution q for each position, in nats.

        loss = 1/n sum -sum_v q_v log softmax(z)_v

    With one-hot q this is `compute_cross_entropy`, at V times the memory for the targets.

    Args:
        logits: z (..., V). one_hot: q (..., V), each row adding up to 1.
        mask: (...), True where a position counts; None counts all.

    Raises:
        UsageError: the shapes differ, or nothing counts.

    >>> logits, one_hot = np.log(np.array([[0.9, 0.1]])), np.array([[1.0, 0.0]])
    >>> round(compute_one_hot_cross_entropy(logits, one_hot), 6)
    0.105361

    Source: Goodfellow et al. 2016, section 3.13, equation 3.51.
    """
    check_shape("one_hot", one_hot, logits.shape)
    losses = -np.sum(one_hot * log_softmax(logits), axis=-1)
    return float(np.sum(_weigh_positions(losses, mask) * losses))


def differentiate_one_hot_cross_entropy(
    logits: Array, one_hot: Array, mask: Mask | None = None
) -> Array:
    """The gradient of the mean categorical cross-entropy for the logits (..., V).

        dloss/dz = 1/n (softmax(z) - q), and 0 where the mask is False

    Args and errors: those of `compute_one_hot_cross_entropy`.

    >>> logits, one_hot = np.log(np.array([[0.9, 0.1]])), np.array([[1.0, 0.0]])
    >>> differentiate_one_hot_cross_entropy(logits, one_hot).round(6).tolist()
    [[-0.1, 0.1]]
    """
    check_shape("one_hot", one_hot, logits.shape)
    weights = _weigh_positions(logits[..., 0], mask)
    return np.asarray(weights[..., np.newaxis] * (np.exp(log_softmax(logits)) - one_hot))


def _weigh_positions(values: Array, mask: Mask | None) -> Array:
    """What each position counts in a mean: 1/n where the mask is True, 0 elsewhere."""
    counts = np.ones_like(values, dtype=np.bool_) if mask is None else mask
    if counts.dtype != np.bool_:
        raise UsageError(f"mask: expected True and False, received {counts.dtype}. Use mask != 0.")
    check_shape("mask", counts, values.shape)
    n = int(np.sum(counts))
    if n == 0:
        raise UsageError("mask: expected at least one position that counts, received none.")
    return counts.astype(values.dtype) / n
