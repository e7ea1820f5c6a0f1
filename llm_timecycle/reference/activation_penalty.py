"""Activation and temporal activation regularization (AR and TAR), with their gradients.

    penalty = alpha 1/(B T H) sum y^2  +  beta 1/(B (T-1) H) sum_{t>1} k_t (h_t - h_{t-1})^2

y is what goes into the output layer, before any projection and after dropout; h is what the last
LSTM layer gives. k is 0 where a document begins, whose first token has nothing to be compared with.
A window of one token has no changes.

Shapes: B batch, T time, H hidden units.

Source: Merity, McCann and Socher 2017, "Revisiting Activation Regularization for Language RNNs",
section 3. The paper writes norms; the authors' code (salesforce/awd-lstm-lm) has these means, for
which their alpha 2 and beta 1 are meant.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from llm_timecycle.reference.arrays import Array, check_shape


class PenaltyWeights(NamedTuple):
    """How much each penalty counts."""

    alpha: float = 0.0
    """Of AR."""
    beta: float = 0.0
    """Of TAR."""


def compute_activation_penalty(
    y: Array, h: Array, weights: PenaltyWeights, keep: Array | None = None
) -> float:
    """The penalty that training adds to the loss.

    Args:
        y, h: (B, T, H). keep: k (B, T); None is 1 everywhere.

    Raises:
        UsageError: a shape does not fit the others.

    >>> y, h = np.array([[[2.0], [0.0]]]), np.array([[[1.0], [4.0]]])
    >>> compute_activation_penalty(y, h, PenaltyWeights(alpha=1.0))  # (4 + 0) / 2
    2.0
    >>> compute_activation_penalty(y, h, PenaltyWeights(beta=1.0))  # (4 - 1)^2 / 1
    9.0
    """
    check_shape("y", y, h.shape)
    changes = _compute_changes(h, keep)
    ar = weights.alpha * np.sum(y**2) / y.size
    tar = weights.beta * np.sum(changes**2) / max(changes.size, 1)
    return float(ar + tar)


def differentiate_activation_penalty(
    y: Array, h: Array, weights: PenaltyWeights, keep: Array | None = None
) -> tuple[Array, Array]:
    """The gradients of the penalty for y and for h, each (B, T, H).

        dy = 2 alpha / (B T H) y
        dh_t = 2 beta / (B (T-1) H) (k_t (h_t - h_{t-1}) - k_{t+1} (h_{t+1} - h_t))

    Args and errors: those of `compute_activation_penalty`.

    >>> y, h = np.array([[[2.0], [0.0]]]), np.array([[[1.0], [4.0]]])
    >>> dy, dh = differentiate_activation_penalty(y, h, PenaltyWeights(alpha=1.0, beta=0.5))
    >>> dy.ravel().tolist(), dh.ravel().tolist()
    ([2.0, 0.0], [-3.0, 3.0])
    """
    check_shape("y", y, h.shape)
    changes = _compute_changes(h, keep)
    slope = 2 * weights.beta / max(changes.size, 1) * changes
    dh = np.zeros_like(h)
    dh[:, 1:] += slope
    dh[:, :-1] -= slope
    return 2 * weights.alpha / y.size * y, dh


def _compute_changes(h: Array, keep: Array | None) -> Array:
    """k_t (h_t - h_{t-1}) for every t but the first (B, T - 1, H)."""
    changes = h[:, 1:] - h[:, :-1]
    if keep is None:
        return changes
    check_shape("keep", keep, h.shape[:2])
    return np.asarray(changes * keep[:, 1:, np.newaxis])
