"""Activation penalties: by hand, numeric gradients, laws, what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.activation_penalty import (
    PenaltyWeights,
    compute_activation_penalty,
    differentiate_activation_penalty,
)

B, T, H = 2, 4, 3
BOTH = PenaltyWeights(alpha=2.0, beta=0.5)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0).normal
    return {"y": draw(size=(B, T, H)), "h": draw(size=(B, T, H))}


def test_both_penalties_by_hand() -> None:
    y = np.array([[[1.0, -1.0], [3.0, 0.0], [0.0, 1.0]]])  # squares add up to 12, of 6
    h = np.array([[[0.0, 0.0], [1.0, 2.0], [1.0, 0.0]]])  # changes: 1, 2, 0, -2: 9, of 4
    assert compute_activation_penalty(y, h, BOTH) == 2.0 * 2.0 + 0.5 * 2.25
    keep = np.array([[0.0, 1.0, 0.0]])  # the last token begins a document: 1 + 4 remain, of 4
    assert compute_activation_penalty(y, h, BOTH, keep) == 2.0 * 2.0 + 0.5 * 1.25


@pytest.mark.parametrize("has_documents", [False, True])
def test_the_gradient_is_the_numeric_one(arrays, has_documents, check_gradients) -> None:
    keep = np.array([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]]) if has_documents else None

    def compute() -> float:
        return compute_activation_penalty(**arrays, weights=BOTH, keep=keep)

    dy, dh = differentiate_activation_penalty(**arrays, weights=BOTH, keep=keep)
    check_gradients(compute, arrays, {"y": dy, "h": dh})


def test_activations_that_do_not_change_are_penalized_by_ar_alone(arrays) -> None:
    still = np.repeat(arrays["h"][:, :1], T, axis=1)
    assert compute_activation_penalty(arrays["y"], still, PenaltyWeights(beta=1.0)) == 0.0
    assert compute_activation_penalty(arrays["y"], still, PenaltyWeights(alpha=1.0)) > 0.0


def test_equal_lanes_count_as_one(arrays) -> None:
    """The penalty is a mean: it does not grow with the batch."""
    one = {name: array[:1] for name, array in arrays.items()}
    many = {name: np.repeat(array, 5, axis=0) for name, array in one.items()}
    expected = compute_activation_penalty(**one, weights=BOTH)
    assert compute_activation_penalty(**many, weights=BOTH) == pytest.approx(expected, rel=1e-12)


def test_a_window_of_one_token_has_no_changes(arrays) -> None:
    one = {name: array[:, :1] for name, array in arrays.items()}
    assert compute_activation_penalty(**one, weights=PenaltyWeights(beta=1.0)) == 0.0
    _, dh = differentiate_activation_penalty(**one, weights=BOTH)
    assert not dh.any()


def test_other_shapes_are_refused(arrays) -> None:
    message = re.escape("y: expected shape (2, 4, 3), received (2, 3, 3)")
    with pytest.raises(UsageError, match=message):
        compute_activation_penalty(arrays["y"][:, 1:], arrays["h"], BOTH)
    with pytest.raises(UsageError, match="keep: expected shape"):
        differentiate_activation_penalty(**arrays, weights=BOTH, keep=np.ones((B, T - 1)))
