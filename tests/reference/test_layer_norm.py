"""Layer normalization: by hand, numeric gradients, laws, what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.layer_norm import normalize_backward, normalize_forward

B, T, H = 2, 3, 4


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0).normal
    return {"x": draw(size=(B, T, H)), "gamma": draw(size=H), "beta": draw(size=H)}


def test_a_row_by_hand() -> None:
    # Mean 2; deviations -2, 0, 2, 0; variance 2; with epsilon 2 they are divided by 2.
    x = np.array([[[0.0, 2.0, 4.0, 2.0]]])
    gamma, beta = np.array([1.0, 1.0, 3.0, 1.0]), np.array([0.0, 5.0, 1.0, 0.0])
    y, _ = normalize_forward(x, gamma, beta, epsilon=2.0)
    assert y.tolist() == [[[-1.0, 5.0, 4.0, 0.0]]]


def test_every_gradient_is_the_numeric_one(arrays, check_gradients) -> None:
    weights = np.random.default_rng(1).normal(size=(B, T, H))

    def compute_loss() -> float:
        return float(np.sum(weights * normalize_forward(**arrays)[0]))

    _, cache = normalize_forward(**arrays)
    gradients = normalize_backward(weights, arrays["gamma"], cache)
    check_gradients(compute_loss, arrays, gradients._asdict())


def test_shift_and_scale_of_a_row_change_nothing(arrays) -> None:
    y, _ = normalize_forward(**arrays, epsilon=0.0)
    moved = {**arrays, "x": 3.0 * arrays["x"] - 7.0}
    np.testing.assert_allclose(normalize_forward(**moved, epsilon=0.0)[0], y, rtol=1e-10)


def test_rows_have_mean_0_and_variance_1(arrays) -> None:
    z = normalize_forward(arrays["x"], np.ones(H), np.zeros(H), epsilon=0.0)[0]
    np.testing.assert_allclose(z.mean(axis=-1), np.zeros((B, T)), atol=1e-12)
    np.testing.assert_allclose(z.var(axis=-1), np.ones((B, T)), rtol=1e-12)


def test_other_shapes_are_refused(arrays) -> None:
    message = re.escape("gamma: expected shape (4,), received (3,)")
    with pytest.raises(UsageError, match=message):
        normalize_forward(arrays["x"], np.ones(3), arrays["beta"])
    _, cache = normalize_forward(**arrays)
    with pytest.raises(UsageError, match="dy: expected shape"):
        normalize_backward(np.ones((B, H)), arrays["gamma"], cache)
