"""The activations of the field, sigmoid, ReLU and tanh, each with its derivative.

Source: Goodfellow, Bengio and Courville 2016, "Deep Learning", sections 3.10 and 6.3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from llm_timecycle.reference.arrays import Array


def sigmoid(x: ArrayLike) -> Array:
    """The logistic sigmoid, which squeezes any number into 0 to 1.

        sigmoid(x) = 1 / (1 + exp(-x)) = exp(x) / (exp(x) + 1)

    The first form is used for x >= 0 and the second for x < 0, so that exp never overflows and a
    very negative x keeps all its digits.

    Args:
        x: numbers of any shape; the result has the same shape.

    >>> round(float(sigmoid(2.0)), 6)
    0.880797

    Source: Goodfellow et al. 2016, equations 3.30 and 3.33.
    """
    x = np.asarray(x)
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1 / (1 + e), e / (1 + e)))


def differentiate_sigmoid(x: ArrayLike) -> Array:
    """The derivative of the sigmoid at x.

        sigmoid'(x) = sigmoid(x) (1 - sigmoid(x)) = sigmoid(x) sigmoid(-x)

    Args:
        x: numbers of any shape; the result has the same shape.

    >>> float(differentiate_sigmoid(0.0))
    0.25

    Source: Goodfellow et al. 2016, equations 3.34 and 3.35.
    """
    return np.asarray(sigmoid(x) * sigmoid(np.negative(x)))


def relu(x: ArrayLike) -> Array:
    """The rectified linear unit, which keeps what is positive.

        relu(x) = max(0, x)

    Args:
        x: numbers of any shape; the result has the same shape.

    >>> relu([-3.0, 0.0, 3.0]).tolist()
    [0.0, 0.0, 3.0]

    Source: Goodfellow et al. 2016, section 6.3.1.
    """
    return np.asarray(np.maximum(x, 0))


def differentiate_relu(x: ArrayLike) -> Array:
    """The derivative of ReLU at x; at 0, where there is none, the one from the left.

        relu'(x) = 1 where x > 0, else 0

    Args:
        x: numbers of any shape; the result has the same shape.

    >>> differentiate_relu([-3.0, 0.0, 3.0]).tolist()
    [0.0, 0.0, 1.0]

    Source: Goodfellow et al. 2016, section 6.3, which also says why the corner does no harm.
    """
    x = np.asarray(x)
    return np.asarray(np.heaviside(x, x.dtype.type(0)))


def tanh(x: ArrayLike) -> Array:
    """The hyperbolic tangent, which squeezes any number into -1 to 1.

        tanh(x) = (exp(x) - exp(-x)) / (exp(x) + exp(-x)) = 2 sigmoid(2x) - 1

    NumPy's own is used: it neither overflows for large x nor loses digits near 0.

    Args:
        x: numbers of any shape; the result has the same shape.

    >>> round(float(tanh(2.0)), 6)
    0.964028

    Source: Goodfellow et al. 2016, section 6.3.2.
    """
    return np.asarray(np.tanh(x))


def differentiate_tanh(x: ArrayLike) -> Array:
    """The derivative of tanh at x.

        tanh'(x) = 1 - tanh(x)^2

    Args:
        x: numbers of any shape; the result has the same shape.

    >>> round(float(differentiate_tanh(2.0)), 6)
    0.070651

    Source: differentiate the quotient above.
    """
    return np.asarray(1 - tanh(x) ** 2)
