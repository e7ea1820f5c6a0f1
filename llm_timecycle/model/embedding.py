"""The embedding of the tokens, with dropout of whole words."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class Embedding(keras.layers.Embedding):  # type: ignore[misc]
    """`keras.layers.Embedding` that can drop rows of its matrix in training.

        x = m[token] Emb[token],    m[v] = 0 with probability p, else 1 / (1 - p)

    A dropped word is dropped wherever it occurs in the step. With tied embeddings the output layer
    uses the whole matrix. Only the rows that are read are multiplied: the gradient is that of a
    matrix with dropped rows, for B T E products in place of V E.

    Args:
        input_dim: V. output_dim: E.
        dropout: p, the share of the vocabulary that a training step drops.
        seed: of the draws.
        **options: passed to `keras.layers.Embedding`.

    Call shapes: tokens (B, T) -> (B, T, E).

    Sources: Gal and Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent
    Neural Networks", section 4.2; Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM
    Language Models", section 4.3.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        dropout: float = 0.0,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(input_dim, output_dim, **options)
        self.dropout = dropout
        if dropout > 0:
            self.dropout_seed = keras.random.SeedGenerator(seed)

    def draw_step(self) -> tf.Tensor | None:
        """m (V,), float32, for all shards of a training step; None where nothing is dropped."""
        if self.dropout == 0:
            return None
        return keras.random.dropout(
            tf.ones((self.input_dim,)), self.dropout, seed=self.dropout_seed
        )

    draw_mask = draw_step

    def drop(self, mask: tf.Tensor) -> tf.Tensor:
        """What `draw_step` gives: the mask itself."""
        return mask

    def call(
        self, inputs: tf.Tensor, training: bool = False, drawn: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The embeddings of the tokens; in training with the rows of `drawn` dropped.

        Args:
            drawn: what `draw_step` gave; None draws anew.
        """
        rows = tf.cast(tf.gather(self.embeddings, inputs), self.compute_dtype)
        if not (training and self.dropout > 0):
            return rows
        kept = self.draw_step() if drawn is None else drawn
        # In float32: in bfloat16, 1 / (1 - p) would be off by up to 0.4 %, the same way everywhere.
        dropped = tf.cast(rows, tf.float32) * tf.gather(kept, inputs)[:, :, None]
        return tf.cast(dropped, rows.dtype)

    def compute_output_spec(self, inputs: Any, **options: Any) -> Any:
        """The shape of the embeddings, whatever is dropped."""
        return super().compute_output_spec(inputs)

    def get_config(self) -> dict[str, Any]:
        """The options of `keras.layers.Embedding`, and `dropout`."""
        return {**super().get_config(), "dropout": self.dropout}
