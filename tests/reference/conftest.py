"""The numeric gradient that every written-out gradient is held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
CheckGradients = Callable[[Callable[[], float], Mapping[str, Array], Mapping[str, Array]], None]


def compute_numeric_gradient(compute_loss: Callable[[], float], x: Array) -> Array:
    """(loss(x + d) - loss(x - d)) / 2d for each number of x, which `compute_loss` reads."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        original, d = x[index], 1e-5
        x[index] = original + d
        above = compute_loss()
        x[index] = original - d
        below = compute_loss()
        x[index] = original
        gradient[index] = (above - below) / (2 * d)
    return gradient


@pytest.fixture
def check_gradients() -> CheckGradients:
    """Fail where a gradient is off by more than 1e-6 of its array's largest entry."""

    def check(
        compute_loss: Callable[[], float],
        arrays: Mapping[str, Array],
        gradients: Mapping[str, Array],
    ) -> None:
        assert arrays.keys() == gradients.keys()
        for name, x in arrays.items():
            assert x.dtype == np.float64
            numeric = compute_numeric_gradient(compute_loss, x)
            largest = np.max(np.abs(numeric))
            assert largest > 0, f"{name}: the loss does not depend on it, so nothing is checked"
            assert gradients[name].shape == x.shape
            error = np.max(np.abs(gradients[name] - numeric)) / largest
            assert error < 1e-6, f"{name}: relative error {error}"

    return check
