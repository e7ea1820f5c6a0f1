"""One LSTM layer over a window by cuDNN, which computes all its steps in one call on a GPU."""

from __future__ import annotations

import tensorflow as tf


def has_gpu() -> bool:
    """Whether TensorFlow computes on a GPU in this process."""
    return bool(tf.config.get_visible_devices("GPU"))


def run_cudnn_lstm(
    x: tf.Tensor, h: tf.Tensor, c: tf.Tensor, weights: tf.Tensor, *, output_dtype: str
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """What `model.lstm.run_lstm` computes where every state is kept, in float32.

    In bfloat16 the gradients of this operation are wrong by factors of 1e9 and more, while its
    results are right: seen with TensorFlow 2.21, cuDNN 9.19 and an H200. Nor is bfloat16 faster
    here: the steps of a window wait for one another.

    Args:
        x: inputs (B, T, D). h, c: the state before the first step, (B, H).
        weights: of `pack_weights`.
        output_dtype: the type of the h of every step.

    Returns:
        h of every step (B, T, H), and h and c after the last one, (B, H), float32.
    """
    x = tf.transpose(tf.cast(x, tf.float32), [1, 0, 2])
    lengths = tf.fill([tf.shape(x)[1]], tf.shape(x)[0])
    outputs, h, c, _, _ = tf.raw_ops.CudnnRNNV3(
        input=x,
        input_h=tf.cast(h, tf.float32)[None],
        input_c=tf.cast(c, tf.float32)[None],
        params=weights,
        sequence_lengths=lengths,
        rnn_mode="lstm",
        time_major=True,
        is_training=True,  # gradients are also taken outside training
    )
    return tf.cast(tf.transpose(outputs, [1, 0, 2]), output_dtype), h[0], c[0]


def pack_weights(kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """The weights of a layer as cuDNN has them: one vector, float32.

    W of each gate (input, forget, cell, output, as in Keras), transposed; U likewise; two biases,
    which cuDNN adds up, so that the first is 0 here.

    Args:
        kernel: W (D, 4H). recurrent_kernel: U (H, 4H). bias: b (4H,).
    """
    parts = [tf.transpose(kernel), tf.transpose(recurrent_kernel), tf.zeros_like(bias), bias]
    return tf.concat([tf.reshape(tf.cast(part, tf.float32), [-1]) for part in parts], axis=0)
