"""Layer normalization, forward and backward.

Shapes: B batch, T time, H numbers of a row.

Source: Ba, Kiros and Hinton 2016, "Layer Normalization", equations 3 and 4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from llm_timecycle.reference.arrays import Array, check_shape

EPSILON = 1e-5
"""Added to the variance; PyTorch's default."""


class NormCache(NamedTuple):
    """What the forward pass leaves for the backward pass."""

    z: Array
    """The standardized rows (B, T, H)."""
    s: Array
    """What they were divided by (B, T, 1)."""


class NormGradients(NamedTuple):
    """The gradient of the loss for everything that went in, in the same shapes."""

    x: Array
    gamma: Array
    beta: Array


def normalize_forward(
    x: Array, gamma: Array, beta: Array, epsilon: float = EPSILON
) -> tuple[Array, NormCache]:
    """Every row with mean 0 and variance 1, then scaled and shifted by what is learned.

        mu = 1/H sum_i x_i    s = sqrt(1/H sum_i (x_i - mu)^2 + epsilon)
        z = (x - mu) / s      y = gamma z + beta

    Args:
        x: (B, T, H). gamma, beta: (H,).

    Returns:
        y (B, T, H), and what the backward pass needs.

    Raises:
        UsageError: a shape does not fit the others.

    >>> x, gamma, beta = np.array([[[1.0, 3.0]]]), np.array([1.0, 5.0]), np.array([0.0, 2.0])
    >>> normalize_forward(x, gamma, beta, epsilon=0.0)[0].tolist()  # z = -1 and 1
    [[[-1.0, 7.0]]]
    """
    H = x.shape[-1]
    check_shape("gamma", gamma, (H,))
    check_shape("beta", beta, (H,))
    deviations = x - x.sum(axis=-1, keepdims=True) / H
    variance = (deviations**2).sum(axis=-1, keepdims=True) / H
    s = np.sqrt(variance + epsilon)
    z = deviations / s
    return gamma * z + beta, NormCache(z, s)


def normalize_backward(dy: Array, gamma: Array, cache: NormCache) -> NormGradients:
    """The gradient of a layer normalization.

        dz = gamma dy    dx = (dz - 1/H sum_i dz_i - z 1/H sum_i z_i dz_i) / s
        dgamma = sum_{B,T} z dy    dbeta = sum_{B,T} dy

    Args:
        dy: dL/dy (B, T, H). gamma: (H,). cache: what `normalize_forward` left.

    Raises:
        UsageError: a shape does not fit the others.

    >>> _, cache = normalize_forward(np.array([[[1.0, 3.0]]]), np.ones(2), np.zeros(2))
    >>> dx, dgamma, dbeta = normalize_backward(np.array([[[1.0, 1.0]]]), np.ones(2), cache)
    >>> dx.round(9).tolist(), dbeta.tolist()  # a shift of the whole row is taken out again
    ([[[0.0, 0.0]]], [1.0, 1.0])
    """
    z, s = cache
    check_shape("dy", dy, z.shape)
    H = z.shape[-1]
    dz = gamma * dy
    mean_dz = dz.sum(axis=-1, keepdims=True) / H
    mean_zdz = (z * dz).sum(axis=-1, keepdims=True) / H
    dx = (dz - mean_dz - z * mean_zdz) / s
    return NormGradients(dx, (z * dy).sum(axis=(0, 1)), dy.sum(axis=(0, 1)))
