"""Activations: literals, their derivatives, and numbers too large for exp."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm_timecycle.reference.activations import (
    differentiate_relu,
    differentiate_sigmoid,
    differentiate_tanh,
    relu,
    sigmoid,
    tanh,
)

PAIRS = [
    (sigmoid, differentiate_sigmoid),
    (relu, differentiate_relu),
    (tanh, differentiate_tanh),
]
FUNCTIONS = [function for pair in PAIRS for function in pair]


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (sigmoid, 0.0, 0.5),
        (sigmoid, 2.0, 0.880797),
        (sigmoid, -2.0, 0.119203),  # 1 - 0.880797
        (relu, 2.0, 2.0),
        (relu, -2.0, 0.0),
        (tanh, 2.0, 0.964028),
        (tanh, -2.0, -0.964028),
        (differentiate_sigmoid, 2.0, 0.104994),  # 0.880797 * 0.119203
        (differentiate_relu, 2.0, 1.0),
        (differentiate_relu, 0.0, 0.0),
        (differentiate_relu, -2.0, 0.0),
        (differentiate_tanh, 0.0, 1.0),
        (differentiate_tanh, 2.0, 0.070651),  # 1 - 0.964028^2
    ],
)
def test_literals(function, x, expected) -> None:
    assert float(function(x)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("function", "differentiate"), PAIRS)
def test_derivative_is_the_slope(function, differentiate, check_gradients) -> None:
    x = np.random.default_rng(0).normal(scale=2, size=(3, 5))
    check_gradients(lambda: float(np.sum(function(x))), {"x": x}, {"x": differentiate(x)})


def test_sigmoid_and_tanh_are_one_curve() -> None:
    x = np.linspace(-6, 6, 25)
    np.testing.assert_allclose(tanh(x), 2 * sigmoid(2 * x) - 1, atol=1e-15)
    np.testing.assert_allclose(sigmoid(-x), 1 - sigmoid(x), atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_overflows(dtype) -> None:
    x = np.array([-1e4, 1e4], dtype)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert sigmoid(x).tolist() == [0.0, 1.0]
        assert tanh(x).tolist() == [-1.0, 1.0]
        assert relu(x).tolist() == [0.0, 1e4]
        assert differentiate_sigmoid(x).tolist() == [0.0, 0.0]
        assert differentiate_tanh(x).tolist() == [0.0, 0.0]


def test_sigmoid_keeps_its_digits_far_from_0() -> None:
    # 1 / (1 + e^50) = e^-50 (1 - e^-50 + ...), and the second term is beyond float64.
    assert float(sigmoid(-50.0)) == pytest.approx(math.exp(-50), rel=1e-14, abs=0)
    assert float(differentiate_sigmoid(50.0)) == pytest.approx(math.exp(-50), rel=1e-14, abs=0)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_and_number_type_are_kept(function, dtype) -> None:
    result = function(np.ones((2, 3), dtype))
    assert (result.shape, result.dtype) == ((2, 3), dtype)
