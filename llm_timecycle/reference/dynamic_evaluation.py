"""Dynamic evaluation: weights follow the text that is scored, and drift back to the trained ones.

The text is read in segments. A segment is scored first; then its gradient g changes the weights
theta, measured in the size that g had on the training text (RMS), and a part of the way back to
the trained weights theta_0 is gone, more where the training text moved a weight much:

    MS      = 1/S sum_s g_s^2  over segments s of the training text,    RMS = sqrt(MS)
    theta'  = theta - rate g / (RMS + epsilon) + min(decay RMS / mean RMS, 1) (theta_0 - theta)

mean RMS is the mean over the arrays of weights of each one's mean.

Source: Krause, Kahembwe, Murray and Renals 2018, "Dynamic Evaluation of Neural Sequence Models",
section 4: RMS with an RMS global prior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llm_timecycle.reference.arrays import Array, check_names_and_shapes

Arrays = Mapping[str, Array]


def compute_gradient_sizes(gradients: Sequence[Arrays]) -> dict[str, Array]:
    """RMS of every weight, over the gradients of segments of the training text.

    Args:
        gradients: of each segment, by name.

    >>> sizes = compute_gradient_sizes([{"w": np.array([3.0, 0.0])}, {"w": np.array([4.0, 2.0])}])
    >>> (sizes["w"] ** 2).round(6).tolist()  # (9 + 16) / 2, (0 + 4) / 2
    [12.5, 2.0]
    """
    return {
        name: np.sqrt(np.mean([g[name] ** 2 for g in gradients], axis=0)) for name in gradients[0]
    }


def compute_mean_size(sizes: Arrays) -> float:
    """mean RMS: the mean over the arrays of each one's mean.

    >>> compute_mean_size({"w": np.array([1.0, 3.0]), "b": np.array([4.0])})
    3.0
    """
    return float(np.mean([np.mean(size) for size in sizes.values()]))


def adapt(
    parameters: Arrays,
    gradients: Arrays,
    trained: Arrays,
    sizes: Arrays,
    *,
    rate: float,
    decay: float,
    epsilon: float,
) -> dict[str, Array]:
    """The weights after a segment.

    Args:
        parameters: theta, by name. gradients: g of the segment's mean loss, the same names.
        trained: theta_0. sizes: RMS.
        rate, decay, epsilon: as in the formula above.

    Raises:
        UsageError: the names or the shapes differ.

    >>> one = {"w": np.array([1.0])}
    >>> adapt(  # 1 - 0.1 * 4 / (1.5 + 0.5) + 0.5 * (2 - 1)
    ...     one, {"w": np.array([4.0])}, {"w": np.array([2.0])}, {"w": np.array([1.5])},
    ...     rate=0.1, decay=0.5, epsilon=0.5,
    ... )["w"].tolist()
    [1.3]
    """
    shapes = {name: theta.shape for name, theta in parameters.items()}
    for name, arrays in {"gradients": gradients, "trained": trained, "sizes": sizes}.items():
        check_names_and_shapes(name, arrays, shapes)
    mean_size = compute_mean_size(sizes)
    return {
        name: theta
        - rate * gradients[name] / (sizes[name] + epsilon)
        + np.minimum(decay * sizes[name] / mean_size, 1.0) * (trained[name] - theta)
        for name, theta in parameters.items()
    }
