"""Losses: literals, gradients, laws, and what is refused."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.losses import (
    compute_cross_entropy,
    compute_half_squared_error,
    compute_mean_squared_error,
    compute_one_hot_cross_entropy,
    compute_token_losses,
    differentiate_cross_entropy,
    differentiate_half_squared_error,
    differentiate_mean_squared_error,
    differentiate_one_hot_cross_entropy,
    log_softmax,
    make_one_hot,
)

MASKS = [None, np.array([[True, False, True], [False, True, True]])]


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, 3, 5))


@pytest.fixture
def targets() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 5, size=(2, 3))


def test_squared_error_literals() -> None:
    assert compute_half_squared_error(np.array([2.0]), np.array([3.0])) == 0.5
    assert compute_mean_squared_error(np.array([2.0]), np.array([3.0])) == 1.0
    p, t = np.array([1.0, 2.0, 5.0]), np.array([1.0, 4.0, 4.0])
    assert compute_half_squared_error(p, t) == 2.5  # (0 + 4 + 1) / 2
    assert compute_mean_squared_error(p, t) == pytest.approx(5 / 3)
    assert compute_mean_squared_error(p, t, np.array([True, True, False])) == 2.0
    assert differentiate_half_squared_error(p, t).tolist() == [0.0, -2.0, 1.0]


def test_cross_entropy_literals() -> None:
    logits = np.log(np.array([[0.9, 0.1], [0.2, 0.8]]))
    targets = np.array([0, 0])
    assert compute_cross_entropy(logits[:1], targets[:1]) == pytest.approx(0.105361, abs=1e-6)
    # -log 0.2 = 1.609438
    np.testing.assert_allclose(compute_token_losses(logits, targets), [0.105361, 1.609438], 1e-5)
    assert compute_cross_entropy(logits, targets) == pytest.approx(0.857399, abs=1e-6)
    np.testing.assert_allclose(
        differentiate_cross_entropy(logits, targets),
        [[(0.9 - 1) / 2, 0.1 / 2], [(0.2 - 1) / 2, 0.8 / 2]],
    )


def test_equal_logits_cost_log_of_the_vocabulary() -> None:
    assert compute_cross_entropy(np.full((4, 7), 3.0), np.arange(4)) == pytest.approx(math.log(7))


def test_cross_entropy_against_a_spread_target() -> None:
    # Half of log 4/1 and half of log 4/3.
    logits, q = np.log(np.array([[1.0, 3.0]])), np.array([[0.5, 0.5]])
    expected = (math.log(4) + math.log(4 / 3)) / 2
    assert compute_one_hot_cross_entropy(logits, q) == pytest.approx(expected)


@pytest.mark.parametrize("mask", MASKS)
def test_mean_squared_error_gradient(mask, check_gradients) -> None:
    p, t = np.random.default_rng(3).normal(size=(2, 2, 3))
    gradient = differentiate_mean_squared_error(p, t, mask)
    check_gradients(lambda: compute_mean_squared_error(p, t, mask), {"p": p}, {"p": gradient})


def test_half_squared_error_gradient(check_gradients) -> None:
    p, t = np.random.default_rng(4).normal(size=(2, 2, 3))
    gradient = differentiate_half_squared_error(p, t)
    check_gradients(lambda: compute_half_squared_error(p, t), {"p": p}, {"p": gradient})


@pytest.mark.parametrize("mask", MASKS)
def test_cross_entropy_gradient(logits, targets, mask, check_gradients) -> None:
    gradient = differentiate_cross_entropy(logits, targets, mask)
    check_gradients(
        lambda: compute_cross_entropy(logits, targets, mask), {"z": logits}, {"z": gradient}
    )


@pytest.mark.parametrize("mask", MASKS)
def test_one_hot_gradient_for_any_distribution(logits, mask, check_gradients) -> None:
    q = np.random.default_rng(5).dirichlet(np.ones(5), size=(2, 3))
    gradient = differentiate_one_hot_cross_entropy(logits, q, mask)
    check_gradients(
        lambda: compute_one_hot_cross_entropy(logits, q, mask), {"z": logits}, {"z": gradient}
    )


@pytest.mark.parametrize("mask", MASKS)
def test_one_hot_form_equals_integer_form(logits, targets, mask) -> None:
    one_hot = make_one_hot(targets, 5, np.float64)
    assert compute_one_hot_cross_entropy(logits, one_hot, mask) == pytest.approx(
        compute_cross_entropy(logits, targets, mask), rel=1e-14
    )
    np.testing.assert_array_equal(
        differentiate_one_hot_cross_entropy(logits, one_hot, mask),
        differentiate_cross_entropy(logits, targets, mask),
    )


def test_cross_entropy_ignores_a_shift_of_all_logits(logits, targets) -> None:
    shifts = np.array([[[-700.0], [0.5], [30.0]], [[4.0], [700.0], [-2.0]]])
    np.testing.assert_allclose(
        compute_token_losses(logits + shifts, targets), compute_token_losses(logits, targets)
    )


def test_cross_entropy_is_bound_to_no_axis(logits, targets) -> None:
    moved = compute_token_losses(np.swapaxes(logits, 0, 1), targets.T)
    np.testing.assert_array_equal(moved.T, compute_token_losses(logits, targets))
    flat = compute_token_losses(logits.reshape(6, 5), targets.reshape(6))
    np.testing.assert_array_equal(flat.reshape(2, 3), compute_token_losses(logits, targets))


def test_mask_equals_taking_the_subset(logits, targets) -> None:
    mask = MASKS[1]
    assert compute_cross_entropy(logits, targets, mask) == pytest.approx(
        compute_cross_entropy(logits[mask], targets[mask]), rel=1e-14
    )
    gradient = differentiate_cross_entropy(logits, targets, mask)
    subset = differentiate_cross_entropy(logits[mask], targets[mask])
    np.testing.assert_allclose(gradient[mask], subset, rtol=1e-14)
    assert not gradient[~mask].any()


def test_probabilities_add_up_and_gradients_cancel(logits, targets) -> None:
    np.testing.assert_allclose(np.exp(log_softmax(logits)).sum(axis=-1), 1.0, rtol=1e-14)
    gradient = differentiate_cross_entropy(logits, targets)
    np.testing.assert_allclose(gradient.sum(axis=-1), 0.0, atol=1e-16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_logits_do_not_overflow(dtype) -> None:
    logits = np.array([[1e4, 0.0]], dtype)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert compute_cross_entropy(logits, np.array([0])) == 0.0
        assert compute_cross_entropy(logits, np.array([1])) == 1e4
        assert differentiate_cross_entropy(logits, np.array([1])).tolist() == [[1.0, -1.0]]


def test_float32_stays_float32(logits, targets) -> None:
    logits, p = logits.astype(np.float32), np.ones(3, np.float32)
    assert compute_token_losses(logits, targets).dtype == np.float32
    assert differentiate_cross_entropy(logits, targets, MASKS[1]).dtype == np.float32
    assert differentiate_mean_squared_error(p, p).dtype == np.float32
    assert differentiate_half_squared_error(p, p).dtype == np.float32


@pytest.mark.parametrize(
    "function",
    [
        compute_half_squared_error,
        differentiate_half_squared_error,
        compute_mean_squared_error,
        differentiate_mean_squared_error,
    ],
)
def test_squared_error_refuses_to_stretch_targets(function) -> None:
    message = "targets: expected shape (2, 3), received (3,)."
    with pytest.raises(UsageError, match=re.escape(message)):
        function(np.ones((2, 3)), np.ones(3))


@pytest.mark.parametrize("function", [compute_cross_entropy, differentiate_cross_entropy])
def test_cross_entropy_refuses_bad_targets(function, logits, targets) -> None:
    with pytest.raises(UsageError, match=re.escape("targets: expected shape (2, 3)")):
        function(logits, targets[:1])
    with pytest.raises(UsageError, match="expected tokens from 0 to 4, received -1"):
        function(logits, np.full((2, 3), -1))
    with pytest.raises(UsageError, match="expected tokens from 0 to 4, received 5"):
        function(logits, np.full((2, 3), 5))
    with pytest.raises(UsageError, match="targets: expected integers, received float64"):
        function(logits, np.ones((2, 3)))


@pytest.mark.parametrize(
    "function", [compute_one_hot_cross_entropy, differentiate_one_hot_cross_entropy]
)
def test_one_hot_form_refuses_another_shape(function, logits) -> None:
    with pytest.raises(UsageError, match=re.escape("one_hot: expected shape (2, 3, 5)")):
        function(logits, np.ones((3, 5)))


@pytest.mark.parametrize("function", [compute_cross_entropy, differentiate_cross_entropy])
def test_bad_masks_are_refused(function, logits, targets) -> None:
    with pytest.raises(UsageError, match=re.escape("mask: expected shape (2, 3), received (3,)")):
        function(logits, targets, np.ones(3, bool))
    with pytest.raises(UsageError, match="mask: expected True and False, received float64"):
        function(logits, targets, np.ones((2, 3)))
    with pytest.raises(UsageError, match="expected at least one position that counts"):
        function(logits, targets, np.zeros((2, 3), bool))
