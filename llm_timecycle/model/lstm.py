"""An LSTM layer that is Keras' own in weights, options and numbers, with a faster inner loop.

Keras multiplies the inputs by the kernel inside the loop over time. Here all steps' inputs are
multiplied at once before the loop, which keeps only what depends on the step before; and the
gradient is written out, so that the gradients of both kernels are one product each after the
backward loop instead of a sum of T small ones. `reference/lstm.py` is the same in NumPy.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class LSTM(keras.layers.LSTM):  # type: ignore[misc]
    """`keras.layers.LSTM`, faster on a CPU, with weight drop.

    A call that the fast loop does not cover (a mask, other activations, `go_backwards`,
    `stateful`, dropout inside the layer) takes Keras' path, and so does a machine with a GPU, where
    Keras uses cuDNN. Under `mixed_bfloat16` the fast loop multiplies in bfloat16 and keeps the cell
    in float32.

    Args:
        units: hidden units (H).
        weight_drop: the share of recurrent weights that is zero during a training step, a new draw
            each call (Merity et al. 2018, "Regularizing and Optimizing LSTM Language Models").
        **options: those of `keras.layers.LSTM`.

    Call shapes: inputs (B, T, D), initial_state [(B, H), (B, H)] -> outputs (B, T, H) with
    `return_sequences`, and the two final states (B, H) with `return_state`.
    """

    def __init__(self, units: int, weight_drop: float = 0.0, **options: Any) -> None:
        super().__init__(units, **options)
        self.weight_drop = weight_drop
        self.weight_drop_seed = keras.random.SeedGenerator(options.get("seed"))
        # The loop casts by itself: Keras would cast the cell state to the compute type too.
        self.autocast = False

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: list[tf.Tensor] | None = None,
        mask: tf.Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """Run over a window; see the class for the shapes."""
        drops_weights = bool(training and self.weight_drop)
        if not self._takes_fast_loop(mask, drops_weights):
            if drops_weights:
                raise ValueError("weight_drop works with Keras' default activations and no mask")
            sequences = tf.cast(sequences, self.compute_dtype)
            return super().call(sequences, initial_state, mask, training)
        B = tf.shape(sequences)[0]
        if initial_state is None:
            zeros = tf.zeros((B, self.units), tf.float32)
            initial_state = [zeros, zeros]
        recurrent_kernel = tf.convert_to_tensor(self.cell.recurrent_kernel)
        if drops_weights:
            recurrent_kernel = keras.random.dropout(
                recurrent_kernel, self.weight_drop, seed=self.weight_drop_seed
            )
        outputs, h, c = run_lstm(
            sequences,
            *initial_state,
            kernel=tf.convert_to_tensor(self.cell.kernel),
            recurrent_kernel=recurrent_kernel,
            bias=tf.convert_to_tensor(self.cell.bias),
            compute_dtype=self.compute_dtype,
        )
        result = outputs if self.return_sequences else h
        return (result, h, c) if self.return_state else result

    def _takes_fast_loop(self, mask: tf.Tensor | None, drops_weights: bool) -> bool:
        is_plain = (
            mask is None
            and self.use_bias
            and self.activation is keras.activations.tanh
            and self.recurrent_activation is keras.activations.sigmoid
            and not (self.dropout or self.recurrent_dropout)
            and not (self.go_backwards or self.stateful)
        )
        return is_plain and (drops_weights or not tf.config.list_physical_devices("GPU"))

    def get_config(self) -> dict[str, Any]:
        """The options of `keras.layers.LSTM`, and `weight_drop`."""
        return {**super().get_config(), "weight_drop": self.weight_drop}


def run_lstm(
    x: tf.Tensor,
    h: tf.Tensor,
    c: tf.Tensor,
    *,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    compute_dtype: str = "float32",
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One LSTM layer over a window, gates in Keras' order (input, forget, cell, output).

        z_t = x_t W + h_{t-1} U + b
        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g),  h_t = sigmoid(o) tanh(c_t)

    Args:
        x: inputs (B, T, D). h, c: the state before the first step, (B, H).
        kernel: W (D, 4H). recurrent_kernel: U (H, 4H). bias: b (4H,).
        compute_dtype: the type of the matrix products; everything else is float32.

    Returns:
        h of every step (B, T, H), and h and c after the last one, (B, H); float32.
    """
    x = tf.transpose(tf.cast(x, compute_dtype), [1, 0, 2])  # time first: a step is one block
    z_x = tf.tensordot(x, tf.cast(kernel, compute_dtype), 1)
    z_x = tf.cast(z_x, tf.float32) + tf.cast(bias, tf.float32)
    outputs, c = _run_recurrence(
        z_x,
        tf.cast(recurrent_kernel, compute_dtype),
        tf.cast(h, tf.float32),
        tf.cast(c, tf.float32),
    )
    return tf.transpose(outputs, [1, 0, 2]), outputs[-1], c


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _run_recurrence(z_x: tf.Tensor, U: tf.Tensor, h0: tf.Tensor, c0: tf.Tensor) -> Any:
    """What must go step by step: z_x (T, B, 4H), U (H, 4H) -> h (T, B, H), last c (B, H)."""
    T = tf.shape(z_x)[0]
    H = U.shape[0]

    def make_array(width: int) -> tf.TensorArray:
        return tf.TensorArray(tf.float32, T, element_shape=(z_x.shape[1], width))

    def step_forward(t: tf.Tensor, h: tf.Tensor, c: tf.Tensor, *arrays: tf.TensorArray) -> Any:
        hs, cs, gates = arrays
        z = z_x[t] + tf.cast(tf.matmul(tf.cast(h, U.dtype), U), tf.float32)
        i, f, g, o = tf.split(z, 4, axis=1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        c = f * c + i * g
        h = o * tf.tanh(c)
        activated = tf.concat([i, f, g, o], axis=1)
        return t + 1, h, c, hs.write(t, h), cs.write(t, c), gates.write(t, activated)

    start = (0, h0, c0, make_array(H), make_array(H), make_array(4 * H))
    end = tf.while_loop(lambda t, *_: t < T, step_forward, start, parallel_iterations=1)
    hs, cs, gates = (array.stack() for array in end[3:])

    def compute_gradients(dhs: tf.Tensor, dc_last: tf.Tensor) -> Any:
        cs_before = tf.concat([c0[None], cs[:-1]], axis=0)
        hs_before = tf.concat([h0[None], hs[:-1]], axis=0)
        U_transposed = tf.transpose(U)

        def step_backward(t: tf.Tensor, dh: tf.Tensor, dc: tf.Tensor, dzs: tf.TensorArray) -> Any:
            i, f, g, o = tf.split(gates[t], 4, axis=1)
            tanh_c = tf.tanh(cs[t])
            dh = dh + dhs[t]
            dc = dc + dh * o * (1.0 - tanh_c * tanh_c)
            dz = tf.concat(
                [
                    dc * g * i * (1.0 - i),
                    dc * cs_before[t] * f * (1.0 - f),
                    dc * i * (1.0 - g * g),
                    dh * tanh_c * o * (1.0 - o),
                ],
                axis=1,
            )
            dh = tf.cast(tf.matmul(tf.cast(dz, U.dtype), U_transposed), tf.float32)
            return t - 1, dh, dc * f, dzs.write(t, dz)

        start = (T - 1, tf.zeros_like(h0), dc_last, make_array(4 * H))
        _, dh0, dc0, dzs = tf.while_loop(
            lambda t, *_: t >= 0, step_backward, start, parallel_iterations=1
        )
        dz_x = dzs.stack()
        dU = tf.matmul(
            tf.reshape(tf.cast(hs_before, U.dtype), (-1, H)),
            tf.reshape(tf.cast(dz_x, U.dtype), (-1, 4 * H)),
            transpose_a=True,
        )
        return dz_x, dU, dh0, dc0

    return (hs, end[2]), compute_gradients
