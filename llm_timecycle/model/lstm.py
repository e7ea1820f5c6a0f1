"""An LSTM layer with the weights, options and numbers of Keras' own, and a faster inner loop.

Keras multiplies the inputs by the kernel inside the loop over time. Here the inputs of all steps
are multiplied at once before the loop, which keeps only what depends on the previous step. The
gradient is written out, so that the gradients of both kernels are one product each after the
backward loop instead of a sum of T small ones. The elementwise work of a step is compiled into one
pass over memory each way, and the gates are recomputed in the backward pass instead of being
stored. `reference/lstm.py` is the NumPy twin. On a GPU cuDNN takes the place of the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from llm_timecycle.model.cudnn import has_gpu, pack_weights, run_cudnn_lstm


class LSTM(keras.layers.LSTM):  # type: ignore[misc]
    """`keras.layers.LSTM`, faster on a CPU, with weight drop.

    A call that `run_lstm` does not cover (a mask, other activations, `go_backwards`, `stateful`,
    dropout inside the layer) takes Keras' path. Under `mixed_bfloat16` the loop multiplies in
    bfloat16 and keeps the cell in float32; cuDNN computes all in float32.

    Args:
        units: hidden units (H).
        weight_drop: the fraction of recurrent weights that a training step sets to zero, drawn anew
            at each step (Merity et al. 2018, "Regularizing and Optimizing LSTM Language Models").
        **options: passed to `keras.layers.LSTM`.

    Call shapes: inputs (B, T, D), initial_state [(B, H), (B, H)], keep (B, T) or None -> outputs
    (B, T, H) with `return_sequences`, and the two final states (B, H) with `return_state`.
    """

    def __init__(self, units: int, weight_drop: float = 0.0, **options: Any) -> None:
        super().__init__(units, **options)
        self.weight_drop = weight_drop
        self.weight_drop_seed = keras.random.SeedGenerator(options.get("seed"))
        # The loop does its own casts: Keras would cast the cell state to the compute type too.
        self.autocast = False

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: list[tf.Tensor] | None = None,
        mask: tf.Tensor | None = None,
        training: bool = False,
        keep: tf.Tensor | None = None,
        drawn: tf.Tensor | None = None,
    ) -> Any:
        """Run over a window; see the class for the shapes, and `run_lstm` for `keep`.

        Args:
            drawn: what `draw_step` gave; None draws anew where weights are dropped.
        """
        drops_weights = bool(training and self.weight_drop)
        if not self._is_plain(mask):
            if drops_weights or keep is not None:
                raise ValueError(
                    "weight_drop and keep work with Keras' default activations and no mask"
                )
            sequences = tf.cast(sequences, self.compute_dtype)
            return super().call(sequences, initial_state, mask, training)
        if initial_state is None:
            zeros = tf.zeros((tf.shape(sequences)[0], self.units), tf.float32)
            initial_state = [zeros, zeros]
        if not drops_weights:
            recurrent_kernel = tf.convert_to_tensor(self.cell.recurrent_kernel)
        else:
            recurrent_kernel = self.draw_step() if drawn is None else drawn
        outputs, h, c = run_lstm(
            sequences,
            *initial_state,
            kernel=tf.convert_to_tensor(self.cell.kernel),
            recurrent_kernel=recurrent_kernel,
            bias=tf.convert_to_tensor(self.cell.bias),
            keep=keep,
            compute_dtype=self.compute_dtype,
        )
        result = outputs if self.return_sequences else h
        return (result, h, c) if self.return_state else result

    def draw_step(self) -> tf.Tensor | None:
        """U (H, 4H) with weights dropped, for all shards of a step; None without weight drop."""
        if not self.weight_drop:
            return None
        kernel = tf.convert_to_tensor(self.cell.recurrent_kernel)
        return keras.random.dropout(kernel, self.weight_drop, seed=self.weight_drop_seed)

    def draw_mask(self) -> tf.Tensor | None:
        """The mask (H, 4H) with which `drop` gives what `draw_step` would have given."""
        if not self.weight_drop:
            return None
        ones = tf.ones(self.cell.recurrent_kernel.shape)
        return keras.random.dropout(ones, self.weight_drop, seed=self.weight_drop_seed)

    def drop(self, mask: tf.Tensor) -> tf.Tensor:
        """U (H, 4H) with the weights dropped that a mask of `draw_mask` drops."""
        return tf.convert_to_tensor(self.cell.recurrent_kernel) * mask

    def _is_plain(self, mask: tf.Tensor | None) -> bool:
        return (
            mask is None
            and self.use_bias
            and self.activation is keras.activations.tanh
            and self.recurrent_activation is keras.activations.sigmoid
            and not (self.dropout or self.recurrent_dropout)
            and not (self.go_backwards or self.stateful)
        )

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
    keep: tf.Tensor | None = None,
    compute_dtype: str = "float32",
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One LSTM layer over a window, gates in Keras' order (input, forget, cell, output).

        z_t = x_t W + k_t h_{t-1} U + b
        c_t = sigmoid(f) k_t c_{t-1} + sigmoid(i) tanh(g),  h_t = sigmoid(o) tanh(c_t)

    Args:
        x: inputs (B, T, D). h, c: the state before the first step, (B, H).
        kernel: W (D, 4H). recurrent_kernel: U (H, 4H). bias: b (4H,).
        keep: k (B, T), float32: 0 where a step starts from a state of zeros, 1 elsewhere. None
            keeps the state everywhere, at no cost.
        compute_dtype: the type of the matrix products and their results; gates and cell are
            float32.

    Returns:
        h of every step (B, T, H) in `compute_dtype`, and h and c after the last one, (B, H),
        float32.
    """
    if keep is None and has_gpu():  # cuDNN cannot reset a state within a window
        weights = pack_weights(kernel, recurrent_kernel, bias)
        return run_cudnn_lstm(x, h, c, weights, output_dtype=compute_dtype)
    x = tf.transpose(tf.cast(x, compute_dtype), [1, 0, 2])  # time first: a step is one block
    rows = tf.reshape(x, (-1, x.shape[2]))
    z_x = tf.matmul(rows, tf.cast(kernel, compute_dtype))
    outputs, c = _run_recurrence(
        tf.reshape(z_x, tf.concat([tf.shape(x)[:2], z_x.shape[1:]], 0)),
        tf.cast(recurrent_kernel, compute_dtype),
        tf.cast(bias, tf.float32),
        tf.cast(h, tf.float32),
        tf.cast(c, tf.float32),
        None if keep is None else tf.transpose(keep)[:, :, None],
    )
    return tf.transpose(outputs, [1, 0, 2]), tf.cast(outputs[-1], tf.float32), c


@tf.function(autograph=False)  # type: ignore[untyped-decorator]
def _run_recurrence(
    z_x: tf.Tensor,
    U: tf.Tensor,
    b: tf.Tensor,
    h0: tf.Tensor,
    c0: tf.Tensor,
    keep: tf.Tensor | None,
) -> Any:
    """The recurrent part: z_x (T, B, 4H), U (H, 4H), b (4H,) -> h (T, B, H), last c (B, H).

    It is traced once for all layers, shards and networks of the same shapes.

    z_x, U and h have the type of the matrix products; b, h0, c0, c and keep (T, B, 1) are float32.
    """
    T, B = tf.shape(z_x)[0], z_x.shape[1]
    H, dtype = U.shape[0], U.dtype

    def make_array(width: int, dtype: tf.DType) -> tf.TensorArray:
        return tf.TensorArray(dtype, T, element_shape=(B, width))

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(z_x: tf.Tensor, U: tf.Tensor, b: tf.Tensor, h0: tf.Tensor, c0: tf.Tensor) -> Any:
        def step_forward(t: tf.Tensor, h: tf.Tensor, c: tf.Tensor, *arrays: tf.TensorArray) -> Any:
            read = _make_reader(t)
            kept = None if keep is None else read(keep)
            z, c, h = _update_cell(read(z_x), tf.matmul(h, U), b, c, kept)
            values = zip(arrays, (z, c, h), strict=True)
            return t + 1, h, c, *(array.write(t, value) for array, value in values)

        arrays = make_array(4 * H, dtype), make_array(H, tf.float32), make_array(H, dtype)
        start = (0, tf.cast(h0, dtype), c0, *arrays)
        end = tf.while_loop(lambda t, *_: t < T, step_forward, start, parallel_iterations=1)
        zs, cs, hs = (array.stack() for array in end[3:])

        def compute_gradients(dhs: tf.Tensor, dc_last: tf.Tensor) -> Any:
            cs_before = _list_states_before(c0, cs, keep)
            hs_before = _list_states_before(h0, hs, keep)
            # What the step after reads of a state: all of it after the last step.
            kept_after = None if keep is None else tf.concat([keep[1:], tf.ones_like(keep[:1])], 0)
            is_row = B == 1  # whose products take less time than transposing U for them
            back = U if is_row else tf.transpose(U)

            def step_backward(
                t: tf.Tensor, dh: tf.Tensor, dc: tf.Tensor, dzs: tf.TensorArray
            ) -> Any:
                read = _make_reader(t)
                kept = None if kept_after is None else read(kept_after)
                stored = (read(each) for each in (zs, cs_before, cs, dhs))
                dz, dc = _differentiate_cell(*stored, dh, dc, kept)
                dh = tf.matmul(dz, back, transpose_b=is_row)
                return t - 1, dh, dc, dzs.write(t, dz)

            start = (T - 1, tf.zeros_like(hs[0]), dc_last, make_array(4 * H, dtype))
            _, dh0, dc0, dzs = tf.while_loop(
                lambda t, *_: t >= 0, step_backward, start, parallel_iterations=1
            )
            dh0 = tf.cast(dh0, tf.float32)
            if keep is not None:
                dh0, dc0 = dh0 * keep[0], dc0 * keep[0]
            dz_x = dzs.stack()
            dz = tf.reshape(dz_x, (-1, 4 * H))
            dU = tf.matmul(tf.reshape(hs_before, (-1, H)), dz, transpose_a=True)
            return dz_x, dU, _add_rows(dz), dh0, dc0

        return (hs, end[2]), compute_gradients

    return run(z_x, U, b, h0, c0)


def _make_reader(t: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """x -> x[t], for the arrays of a step: `x[t]` would make its bounds for each of them."""
    begin = tf.reshape(t, [1])
    bounds = {"begin": begin, "end": begin + 1, "strides": tf.constant([1])}
    return lambda x: tf.raw_ops.StridedSlice(input=x, **bounds, shrink_axis_mask=1)


def _list_states_before(first: tf.Tensor, states: tf.Tensor, keep: tf.Tensor | None) -> tf.Tensor:
    """What each step read of the state before it (T, B, H): `first`, then all `states` but one."""
    before = tf.concat([tf.cast(first, states.dtype)[None], states[:-1]], axis=0)
    return before if keep is None else before * tf.cast(keep, states.dtype)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _update_cell(
    z_x: tf.Tensor, z_h: tf.Tensor, b: tf.Tensor, c: tf.Tensor, keep: tf.Tensor | None
) -> Any:
    """One step from its products z_x, z_h (B, 4H) and the previous cell, c (B, H): z, c, h.

    keep (B, 1) is 0 where the previous state is forgotten: a row of h of zeros has z_h = 0.
    """
    dtype = z_x.dtype
    z_h = tf.cast(z_h, tf.float32)
    if keep is not None:
        z_h, c = z_h * keep, c * keep
    z = tf.cast(z_x, tf.float32) + z_h + b
    i, f, g, o = _compute_gates(z)
    c = f * c + i * g
    return tf.cast(z, dtype), c, tf.cast(o * tf.tanh(c), dtype)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _differentiate_cell(
    z: tf.Tensor,
    c_before: tf.Tensor,
    c: tf.Tensor,
    dh_output: tf.Tensor,
    dh_next: tf.Tensor,
    dc: tf.Tensor,
    keep: tf.Tensor | None,
) -> Any:
    """The gradients of one step: dz (B, 4H), and dc (B, H) of the previous cell.

    dh_output comes from the layer above, dh_next and dc from the next step, which read the state
    where its keep (B, 1) is 1.
    """
    i, f, g, o = _compute_gates(tf.cast(z, tf.float32))
    tanh_c = tf.tanh(c)
    dh_next = tf.cast(dh_next, tf.float32)
    if keep is not None:
        dh_next, dc = dh_next * keep, dc * keep
    dh = tf.cast(dh_output, tf.float32) + dh_next
    dc = dc + dh * o * (1.0 - tanh_c * tanh_c)
    dz = [
        dc * g * i * (1.0 - i),
        dc * c_before * f * (1.0 - f),
        dc * i * (1.0 - g * g),
        dh * tanh_c * o * (1.0 - o),
    ]
    return tf.cast(tf.concat(dz, axis=1), z.dtype), dc * f


def _compute_gates(z: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The gates i, f, g, o (B, H) of z (B, 4H)."""
    i, f, g, o = tf.split(z, 4, axis=1)
    return _sigmoid(i), _sigmoid(f), tf.tanh(g), _sigmoid(o)


def _sigmoid(z: tf.Tensor) -> tf.Tensor:
    """1 / (1 + exp(-z)) as (1 + tanh(z / 2)) / 2, which compiles to faster code."""
    return 0.5 * tf.tanh(0.5 * z) + 0.5


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _add_rows(matrix: tf.Tensor) -> tf.Tensor:
    """The sum of all rows (N,) of a matrix (M, N), float32."""
    return tf.reduce_sum(tf.cast(matrix, tf.float32), axis=0)
