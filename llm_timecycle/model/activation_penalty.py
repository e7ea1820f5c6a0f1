"""Penalties on the activations of the last LSTM layer: AR and TAR, part of the gradient only.

`reference/activation_penalty.py` is the twin.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from llm_timecycle.config.settings import TrainingSettings


@dataclass(frozen=True)
class ActivationPenalty:
    """How large activations, and their changes from token to token, are penalized in training.

        alpha mean_{B,T,H} y^2  +  beta mean_{B,T-1,H} (h_t - h_{t-1})^2

    y (B, T, H) goes into the output layer, before any projection and after dropout; h (B, T, H) is
    what the last LSTM layer gives, before anything else. Where a document begins, h has nothing to
    be compared with.

    Source: Merity, McCann and Socher 2017, "Revisiting Activation Regularization for Language
    RNNs". The paper writes norms; the authors' code has these means, for which their alpha 2 and
    beta 1 are meant.
    """

    alpha: float
    """Weight of activation regularization (AR)."""
    beta: float
    """Weight of temporal activation regularization (TAR)."""

    def compute(self, y: tf.Tensor, h: tf.Tensor, keep: tf.Tensor | None) -> tf.Tensor:
        """The penalty of every token (B, T), float32; their mean over B and T is the penalty.

        So it is the same however lanes are cut into shards.

        Args:
            y, h: (B, T, H). keep: (B, T), 0 where a document begins; None where none does.
        """
        penalties = tf.zeros(tf.shape(h)[:2])
        if self.alpha > 0:
            squares = tf.square(tf.cast(y, tf.float32))
            penalties += self.alpha * tf.reduce_mean(squares, axis=2)
        if self.beta > 0:
            T = tf.shape(h)[1]
            h = tf.cast(h, tf.float32)
            changes = tf.reduce_mean(tf.square(h[:, 1:] - h[:, :-1]), axis=2)
            if keep is not None:
                changes *= keep[:, 1:]
            # T - 1 changes stand beside T tokens; a window of one token has none.
            share = tf.cast(T, tf.float32) / tf.cast(tf.maximum(T - 1, 1), tf.float32)
            penalties += self.beta * share * tf.pad(changes, [[0, 0], [1, 0]])
        return penalties


def make_activation_penalty(training: TrainingSettings) -> ActivationPenalty | None:
    """The penalty of the settings; None where both weights are 0."""
    alpha = training.activation_regularization
    beta = training.temporal_activation_regularization
    return ActivationPenalty(alpha, beta) if alpha or beta else None


def add_gradient(losses: tf.Tensor, penalties: tf.Tensor) -> tf.Tensor:
    """The losses (B, T), whose gradient is also that of the penalties (B, T)."""
    return losses + (penalties - tf.stop_gradient(penalties))
