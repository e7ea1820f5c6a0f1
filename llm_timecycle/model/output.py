"""The output layer: from hidden units to a logit for every token of the vocabulary."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class TimeDistributedDense(keras.layers.TimeDistributed):  # type: ignore[misc]
    """`TimeDistributed(Dense(V))` as one product over all steps.

    The same weights and numbers; Keras' wrapper would map over the steps. The softmax is left to
    the loss and the sampler, which need the logits.

    Call shapes: (B, T, H) -> logits (B, T, V).
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """Logits (B, T, V) of the hidden units (B, T, H)."""
        return self.layer(inputs)


class TiedOutput(keras.layers.Layer):  # type: ignore[misc]
    """Logits from the embedding's weights: Emb h + b (Press and Wolf 2017).

    Emb (V, E) is the embedding, b (V,) the layer's only weight.

    Call shapes: (B, T, E) -> logits (B, T, V).
    """

    def __init__(self, embedding: keras.layers.Embedding, **options: Any) -> None:
        super().__init__(**options)
        # Hidden from Keras' tracking: the weights belong to the embedding.
        object.__setattr__(self, "_embedding", embedding)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the bias (V,)."""
        V = self._embedding.input_dim
        self.bias = self.add_weight(shape=(V,), initializer="zeros", name="bias")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Logits (B, T, V) of the projected hidden units (B, T, E)."""
        embeddings = tf.cast(self.kernel, inputs.dtype)
        return tf.tensordot(inputs, embeddings, [[2], [1]]) + tf.convert_to_tensor(self.bias)

    @property
    def kernel(self) -> tf.Tensor:
        """The embedding (V, E), float32."""
        return tf.convert_to_tensor(self._embedding.embeddings)


def read_output(layer: TimeDistributedDense | TiedOutput) -> tuple[tf.Tensor, tf.Tensor, bool]:
    """The kernel, the bias (V,), and whether the kernel is the embedding, (V, E), or (H, V)."""
    if isinstance(layer, TiedOutput):
        return layer.kernel, tf.convert_to_tensor(layer.bias), True
    dense = layer.layer
    return tf.convert_to_tensor(dense.kernel), tf.convert_to_tensor(dense.bias), False
