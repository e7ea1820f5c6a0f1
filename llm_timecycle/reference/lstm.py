"""One LSTM layer, forward over a window and backward through time.

The weights have Keras' names and gate order (input i, forget f, cell g, output o; Keras calls g
"c"):

    kernel W (D, 4H), recurrent_kernel U (H, 4H), bias b (4H,)

Where a new document begins, a step starts from a state of zeros: `keep` k (B, T) is 0 there and 1
elsewhere, and a step reads k_t h_{t-1} and k_t c_{t-1}.

Shapes: B batch, T time, D numbers of an input, H hidden units.

Sources: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory"; Gers, Schmidhuber and Cummins
2000, "Learning to Forget", for the forget gate; Goodfellow, Bengio and Courville 2016, "Deep
Learning", section 10.10.1 for the layer and 10.2.2 for its gradient. Like Keras, g is a tanh, where
equation 10.41 of Goodfellow et al. has a sigmoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llm_timecycle.reference.activations import sigmoid, tanh
from llm_timecycle.reference.arrays import Array, check_shape


class LSTMWeights(NamedTuple):
    """What an LSTM layer learns: W (D, 4H), U (H, 4H), b (4H,)."""

    kernel: Array
    recurrent_kernel: Array
    bias: Array


class LSTMStep(NamedTuple):
    """What one step leaves for the backward pass: x (B, D), all others (B, H)."""

    x: Array
    h_before: Array
    c_before: Array
    i: Array
    f: Array
    g: Array
    o: Array
    c: Array


class LSTMGradients(NamedTuple):
    """The gradient of the loss for everything that went into a layer, in the same shapes."""

    x: Array
    kernel: Array
    recurrent_kernel: Array
    bias: Array
    h0: Array
    c0: Array


def step_forward(
    x: Array, h: Array, c: Array, weights: LSTMWeights
) -> tuple[Array, Array, LSTMStep]:
    """One step: what is kept of the cell, what is added to it, and how much of it is shown.

        [z_i, z_f, z_g, z_o] = x W + h U + b
        i = sigmoid(z_i)   f = sigmoid(z_f)   g = tanh(z_g)   o = sigmoid(z_o)
        c' = f * c + i * g
        h' = o * tanh(c')

    Args:
        x: the input (B, D). h, c: the state before the step, each (B, H).

    Returns:
        h' and c', the state after the step, and what the backward pass needs.

    >>> weights = LSTMWeights(np.zeros((1, 4)), np.zeros((1, 4)), np.zeros(4))
    >>> h, c, _ = step_forward(np.ones((1, 1)), np.zeros((1, 1)), np.full((1, 1), 4.0), weights)
    >>> c.tolist(), h.round(6).tolist()  # half of the cell is kept, half of its tanh is shown
    ([[2.0]], [[0.482014]])

    Source: Goodfellow et al. 2016, equations 10.40 to 10.44.
    """
    z_i, z_f, z_g, z_o = np.split(
        x @ weights.kernel + h @ weights.recurrent_kernel + weights.bias, 4, axis=-1
    )
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
    c_after = f * c + i * g
    h_after = o * tanh(c_after)
    return h_after, c_after, LSTMStep(x, h, c, i, f, g, o, c_after)


def step_backward(dh: Array, dc: Array, step: LSTMStep) -> tuple[Array, Array]:
    """The gradient of one step, from its results to its gates and the cell before it.

        dc'  = dc + dh * o * (1 - tanh(c')^2)
        dz_i = dc' * g * i * (1 - i)          dz_f = dc' * c * f * (1 - f)
        dz_g = dc' * i * (1 - g^2)            dz_o = dh * tanh(c') * o * (1 - o)
        dc_before = dc' * f

    Args:
        dh, dc: dL/dh' and the part of dL/dc' that does not come through h', each (B, H).

    Returns:
        dz (B, 4H) and dc_before (B, H). By the chain rule dx = dz W^T and dh_before = dz U^T.

    >>> weights = LSTMWeights(np.zeros((1, 4)), np.zeros((1, 4)), np.zeros(4))
    >>> zero, one = np.zeros((1, 1)), np.ones((1, 1))
    >>> _, _, step = step_forward(one, zero, zero, weights)
    >>> dz, dc_before = step_backward(one, zero, step)
    >>> dz.tolist(), dc_before.tolist()  # o = i = 1/2, so dz_g is 1/4; f = 1/2
    ([[0.0, 0.0, 0.25, 0.0]], [[0.25]])
    """
    _, _, c_before, i, f, g, o, c = step
    dc = dc + dh * o * (1 - tanh(c) ** 2)
    dz_i = dc * g * i * (1 - i)
    dz_f = dc * c_before * f * (1 - f)
    dz_g = dc * i * (1 - g**2)
    dz_o = dh * tanh(c) * o * (1 - o)
    return np.concatenate([dz_i, dz_f, dz_g, dz_o], axis=-1), dc * f


def run_forward(
    x: Array, h0: Array, c0: Array, weights: LSTMWeights, keep: Array | None = None
) -> tuple[Array, Array, Array, list[LSTMStep]]:
    """The layer over a window: one step after another, each from the state the last one left.

    Args:
        x: inputs (B, T, D). h0, c0: the state before the first step, each (B, H).
        keep: k (B, T); None keeps the state everywhere.

    Returns:
        h of every step (B, T, H); h and c after the last one, each (B, H), which are h0 and c0
        where T is 0; the steps, for `run_backward`.

    Raises:
        UsageError: a shape does not fit the others.

    >>> weights = LSTMWeights(np.zeros((3, 8)), np.zeros((2, 8)), np.zeros(8))
    >>> hs, h, c, steps = run_forward(np.zeros((1, 5, 3)), *np.ones((2, 1, 2)), weights)
    >>> hs.shape, len(steps), c.tolist()  # f = 1/2, five times
    ((1, 5, 2), 5, [[0.03125, 0.03125]])
    >>> keep = np.array([[1.0, 1.0, 0.0, 1.0, 1.0]])  # nothing is added to what the third forgets
    >>> run_forward(np.zeros((1, 5, 3)), *np.ones((2, 1, 2)), weights, keep)[2].tolist()
    [[0.0, 0.0]]
    """
    _check_shapes(x, h0, c0, weights)
    B, T, _ = x.shape
    _check_keep(keep, B, T)
    hs = np.empty((B, T, h0.shape[1]), np.result_type(x, h0, c0, *weights))
    h, c, steps = h0, c0, []
    for t in range(T):
        if keep is not None:
            h, c = keep[:, t, None] * h, keep[:, t, None] * c
        h, c, step = step_forward(x[:, t], h, c, weights)
        hs[:, t] = h
        steps.append(step)
    return hs, h, c, steps


def run_backward(
    dhs: Array,
    dh_last: Array,
    dc_last: Array,
    steps: Sequence[LSTMStep],
    weights: LSTMWeights,
    keep: Array | None = None,
) -> LSTMGradients:
    """Backpropagation through time: the steps from last to first, the weights' gradients summed.

        dW = sum_t x_t^T dz_t    dU = sum_t k_t h_{t-1}^T dz_t    db = sum_t sum_B dz_t
        dx_t = dz_t W^T          dh_{t-1} += k_t dz_t U^T         dc_{t-1} = k_t dc_before

    Args:
        dhs: dL/dh of every step (B, T, H), as the layer's outputs.
        dh_last, dc_last: what more the loss depends on the state after the last step, each (B, H);
            zeros where the state is only carried on, as in truncated training.
        steps, weights, keep: those of `run_forward`.

    Raises:
        UsageError: a shape does not fit the others.

    >>> weights = LSTMWeights(np.zeros((1, 4)), np.zeros((1, 4)), np.zeros(4))
    >>> zero = np.zeros((1, 1))
    >>> *_, steps = run_forward(np.full((1, 1, 1), 3.0), zero, zero, weights)
    >>> gradients = run_backward(np.ones((1, 1, 1)), zero, zero, steps, weights)
    >>> gradients.bias.tolist(), gradients.kernel.tolist()
    ([0.0, 0.0, 0.25, 0.0], [[0.0, 0.0, 0.75, 0.0]])

    Source: Goodfellow et al. 2016, section 10.2.2.
    """
    W, U, b = weights
    B, T, H = len(dh_last), len(steps), len(U)
    check_shape("dh_last", dh_last, (B, H))
    check_shape("dc_last", dc_last, (B, H))
    check_shape("dhs", dhs, (B, T, H))
    _check_keep(keep, B, T)
    dx = np.empty((B, T, len(W)), np.result_type(dhs, dh_last, dc_last, *weights))
    dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)
    dh, dc = dh_last, dc_last
    for t in reversed(range(T)):
        dz, dc = step_backward(dh + dhs[:, t], dc, steps[t])
        dW += steps[t].x.T @ dz
        dU += steps[t].h_before.T @ dz
        db += dz.sum(axis=0)
        dx[:, t] = dz @ W.T
        dh = dz @ U.T
        if keep is not None:
            dh, dc = keep[:, t, None] * dh, keep[:, t, None] * dc
    return LSTMGradients(dx, dW, dU, db, dh, dc)


def _check_keep(keep: Array | None, B: int, T: int) -> None:
    if keep is not None:
        check_shape("keep", keep, (B, T))


def _check_shapes(x: Array, h0: Array, c0: Array, weights: LSTMWeights) -> None:
    """Refuse shapes that do not fit: h0 gives B, the kernels give D and H, T is free."""
    B, D, H = len(h0), len(weights.kernel), len(weights.recurrent_kernel)
    check_shape("kernel", weights.kernel, (D, 4 * H))
    check_shape("recurrent_kernel", weights.recurrent_kernel, (H, 4 * H))
    check_shape("bias", weights.bias, (4 * H,))
    check_shape("h0", h0, (B, H))
    check_shape("c0", c0, (B, H))
    check_shape("x", x, (B, *x.shape[1:2], D))
