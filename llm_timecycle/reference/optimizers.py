"""The optimizers: gradient descent and Adam, and the clipping that comes before them.

Parameters and gradients are arrays by name. Every function returns new arrays and leaves those it
was given alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.arrays import Array, check_names_and_shapes

Arrays = Mapping[str, Array]


def descend(parameters: Arrays, gradients: Arrays, learning_rate: float) -> dict[str, Array]:
    """One step of gradient descent: downhill, by the rate times the slope.

        theta' = theta - rate * g

    Args:
        parameters: theta, by name. gradients: g, the same names and shapes.

    Raises:
        UsageError: the names or the shapes differ.

    >>> after = descend({"w": np.array([1.0])}, {"w": np.array([2.0])}, learning_rate=0.25)
    >>> after["w"].tolist()
    [0.5]

    Source: Goodfellow, Bengio and Courville 2016, "Deep Learning", equation 4.5.
    """
    _check_like_parameters("gradients", gradients, parameters)
    return {name: theta - learning_rate * gradients[name] for name, theta in parameters.items()}


class AdamState(NamedTuple):
    """What Adam remembers: t, the steps so far, and the running means m of g and v of g^2."""

    t: int
    m: Arrays
    v: Arrays


def start_adam(parameters: Arrays) -> AdamState:
    """The state before the first step: t = 0, m = 0, v = 0.

    >>> start_adam({"w": np.array([1.0])}).t
    0
    """
    zeros = {name: np.zeros_like(theta) for name, theta in parameters.items()}
    return AdamState(0, zeros, zeros)


def step_adam(
    parameters: Arrays,
    gradients: Arrays,
    state: AdamState,
    *,
    learning_rate: float = 1e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    nesterov: bool = False,
    matrix_decay: float = 0.0,
) -> tuple[dict[str, Array], AdamState]:
    """One step of Adam: the mean slope, measured in its own usual size.

        t'     = t + 1
        m'     = beta_1 m + (1 - beta_1) g
        v'     = beta_2 v + (1 - beta_2) g^2
        m_hat  = m' / (1 - beta_1^t')         (the means start at 0; this takes the pull to 0 out)
        v_hat  = v' / (1 - beta_2^t')
        theta' = theta - rate * m_hat / (sqrt(v_hat) + epsilon)

    With `nesterov` it is NAdam with a constant momentum: the step looks ahead by one mean, with
    beta_1 m' + (1 - beta_1) g in place of m' in m_hat.

    With `matrix_decay` it is AdamW: matrices, not vectors, shrink first, whatever their gradient:

        theta  = theta - rate * matrix_decay * theta

    Keras and TensorFlow add their epsilon (1e-7) to sqrt(v') instead, before the correction, which
    the paper calls epsilon hat (end of its section 2). To get their numbers from this function give
    it, at every step, epsilon = 1e-7 / sqrt(1 - beta_2^t'). (Keras on TensorFlow also rounds the
    rate and the betas of its correction to float32, so in float64 the two agree to about 1e-5.)

    Args:
        parameters: theta, by name. gradients: g, the same names and shapes.
        state: that of `start_adam` or of the step before.

    Returns:
        The new parameters and the new state.

    Raises:
        UsageError: the names or the shapes of parameters, gradients and state differ.

    >>> before = {"w": np.array([1.0])}
    >>> after, state = step_adam(before, {"w": np.array([2.0])}, start_adam(before))
    >>> after["w"].round(6).tolist(), state.t  # the first step is the rate, whatever the slope
    ([0.999], 1)

    Sources: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1; Dozat
    2016, "Incorporating Nesterov Momentum into Adam", section 2, with the bias correction of
    TensorFlow's `ResourceApplyAdam(use_nesterov=True)`: 1 - beta_1^t' for both parts; Loshchilov
    and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2, decay times rate.
    """
    _check_like_parameters("gradients", gradients, parameters)
    _check_like_parameters("state m", state.m, parameters)
    _check_like_parameters("state v", state.v, parameters)
    t = state.t + 1
    after: dict[str, Array] = {}
    m: dict[str, Array] = {}
    v: dict[str, Array] = {}
    for name, theta in parameters.items():
        g = gradients[name]
        m[name] = beta_1 * state.m[name] + (1 - beta_1) * g
        v[name] = beta_2 * state.v[name] + (1 - beta_2) * g**2
        ahead = beta_1 * m[name] + (1 - beta_1) * g if nesterov else m[name]
        m_hat = ahead / (1 - beta_1**t)
        v_hat = v[name] / (1 - beta_2**t)
        if matrix_decay and theta.ndim == 2:
            theta = theta - learning_rate * matrix_decay * theta
        after[name] = theta - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)
    return after, AdamState(t, m, v)


def compute_global_norm(gradients: Arrays) -> float:
    """The length of all gradients taken as one long vector.

        norm = sqrt(sum over names of sum_i g_i^2)

    The sum is kept in float64, so that float32 gradients cannot overflow it.

    >>> compute_global_norm({"w": np.array([[3.0]]), "b": np.array([4.0])})
    5.0
    """
    squares = (np.sum(np.square(g, dtype=np.float64)) for g in gradients.values())
    return math.sqrt(sum(float(square) for square in squares))


def clip_by_global_norm(gradients: Arrays, max_norm: float) -> tuple[dict[str, Array], float]:
    """Gradients no longer than `max_norm`, in the direction that they had.

        g' = g * max_norm / max(norm, max_norm)

    Returns:
        The clipped gradients, and the norm that they had before.

    Raises:
        UsageError: `max_norm` is not finite and above 0, or the norm is infinite or not a number.

    >>> gradients = {"w": np.array([[3.0]]), "b": np.array([4.0])}
    >>> clipped, norm = clip_by_global_norm(gradients, max_norm=2.5)
    >>> clipped["w"].tolist(), clipped["b"].tolist(), norm
    ([[1.5]], [2.0], 5.0)

    Source: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural
    networks", algorithm 1; Goodfellow et al. 2016, section 10.11.1, equations 10.48 and 10.49.
    """
    if not 0 < max_norm < math.inf:
        raise UsageError(f"max_norm: expected a finite number above 0, received {max_norm}.")
    norm = compute_global_norm(gradients)
    if not math.isfinite(norm):
        raise UsageError(
            f"gradients: expected a finite global norm, received {norm}. Lower the learning rate."
        )
    scale = max_norm / max(norm, max_norm)
    return {name: g * scale for name, g in gradients.items()}, norm


def _check_like_parameters(name: str, arrays: Arrays, parameters: Arrays) -> None:
    """Refuse arrays that do not have the names and shapes of the parameters."""
    check_names_and_shapes(name, arrays, {key: theta.shape for key, theta in parameters.items()})
