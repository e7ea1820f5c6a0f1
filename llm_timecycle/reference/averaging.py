"""Weight averaging: when it begins, and the mean that it ends in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.arrays import Array, check_names_and_shapes


def is_triggered(losses: Sequence[float], patience: int) -> bool:
    """Whether averaging begins after the last of these validations: the non-monotonic criterion.

        v_t > min(v_0 ... v_{t-n-1})

    The loss is worse than one that lies more than n validations back, so that it has not improved
    on the best for n validations. A single bad validation is not enough.

    Args:
        losses: v, the validation losses so far, the last one newest. patience: n.

    >>> is_triggered([3.0, 2.0, 2.5], patience=1), is_triggered([2.0, 3.0, 2.5], patience=1)
    (False, True)

    Source: Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models",
    algorithm 1, with n = 5; the range of the minimum is that of their code.
    """
    *before, last = losses
    earlier = before[:-patience]
    return bool(earlier) and last > min(earlier)


def average_weights(iterates: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The mean of the weights after each step since averaging began.

        average = (w_T + ... + w_k) / (k - T + 1)

    Args:
        iterates: w_T ... w_k, weights by name; one or more.

    Raises:
        UsageError: there are none, or their names or shapes differ.

    >>> average_weights([{"w": np.array([1.0])}, {"w": np.array([4.0])}])["w"].tolist()
    [2.5]

    Source: Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; the
    paper of `is_triggered`, algorithm 1, its last line.
    """
    if not iterates:
        raise UsageError("iterates: expected the weights of at least one step, received none.")
    first = iterates[0]
    for weights in iterates[1:]:
        check_names_and_shapes("iterates", weights, {name: w.shape for name, w in first.items()})
    return {name: np.mean([weights[name] for weights in iterates], axis=0) for name in first}
