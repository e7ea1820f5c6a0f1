"""The LSTM layer: one step in scalar arithmetic, numeric gradients, laws, and what is refused."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.lstm import LSTMWeights, run_backward, run_forward, step_forward

SHAPES = [(1, 1, 1, 1), (2, 3, 4, 5), (3, 5, 2, 1), (2, 4, 1, 3)]


def draw_layer(B, T, D, H, dtype=np.float64):
    """Random x, h0, c0 and weights."""
    generator = np.random.default_rng([B, T, D, H])

    def draw(*shape):
        return generator.normal(scale=0.7, size=shape).astype(dtype)

    weights = LSTMWeights(draw(D, 4 * H), draw(H, 4 * H), draw(4 * H))
    return draw(B, T, D), draw(B, H), draw(B, H), weights


def test_one_step_in_scalar_arithmetic() -> None:
    x, h, c = 1.5, 0.2, -0.3
    W, U, b = [0.1, 0.2, 0.3, 0.4], [0.5, -0.6, 0.7, -0.8], [0.01, 1.0, -0.03, 0.04]
    i = 1 / (1 + math.exp(-(x * W[0] + h * U[0] + b[0])))
    f = 1 / (1 + math.exp(-(x * W[1] + h * U[1] + b[1])))
    g = math.tanh(x * W[2] + h * U[2] + b[2])
    o = 1 / (1 + math.exp(-(x * W[3] + h * U[3] + b[3])))
    c_after = f * c + i * g
    h_after = o * math.tanh(c_after)

    weights = LSTMWeights(np.array([W]), np.array([U]), np.array(b))
    h_found, c_found, _ = step_forward(np.array([[x]]), np.array([[h]]), np.array([[c]]), weights)
    assert c_found.item() == pytest.approx(c_after, rel=1e-14)
    assert h_found.item() == pytest.approx(h_after, rel=1e-14)


def test_an_open_forget_gate_and_a_shut_input_gate_keep_the_cell() -> None:
    x, h0, c0, (W, U, _) = draw_layer(2, 6, 3, 2)
    b = np.array([-1e3, -1e3, 1e3, 1e3, 0.0, 0.0, 0.0, 0.0])
    _, _, c, _ = run_forward(x, h0, c0, LSTMWeights(W, U, b))
    np.testing.assert_array_equal(c, c0)


def draw_keep(B, T):
    """Where a state is kept (B, T), in about half of the steps."""
    return np.random.default_rng([B, T]).integers(0, 2, (B, T)).astype(float)


@pytest.mark.parametrize("has_documents", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_gradient_is_the_numeric_one(shape, has_documents, check_gradients) -> None:
    x, h0, c0, weights = draw_layer(*shape)
    keep = draw_keep(*shape[:2]) if has_documents else None
    B, T, _, H = shape
    generator = np.random.default_rng(0)
    dhs, dh, dc = (generator.normal(size=s) for s in [(B, T, H), (B, H), (B, H)])

    def compute_loss() -> float:
        hs, h, c, _ = run_forward(x, h0, c0, weights, keep)
        return float(np.sum(dhs * hs) + np.sum(dh * h) + np.sum(dc * c))

    *_, steps = run_forward(x, h0, c0, weights, keep)
    gradients = run_backward(dhs, dh, dc, steps, weights, keep)
    arrays = {"x": x, "h0": h0, "c0": c0, **weights._asdict()}
    check_gradients(compute_loss, arrays, gradients._asdict())


@pytest.mark.parametrize("cut", [0, 1, 3, 5])
def test_two_pieces_with_carried_state_equal_one(cut) -> None:
    x, h0, c0, weights = draw_layer(2, 5, 3, 4)
    hs, h, c, steps = run_forward(x, h0, c0, weights)
    hs_1, h_1, c_1, steps_1 = run_forward(x[:, :cut], h0, c0, weights)
    hs_2, h_2, c_2, steps_2 = run_forward(x[:, cut:], h_1, c_1, weights)
    np.testing.assert_array_equal(np.concatenate([hs_1, hs_2], axis=1), hs)
    np.testing.assert_array_equal(h_2, h)
    np.testing.assert_array_equal(c_2, c)

    dhs = np.random.default_rng(1).normal(size=hs.shape)
    zeros = np.zeros_like(h0)
    whole = run_backward(dhs, zeros, zeros, steps, weights)
    second = run_backward(dhs[:, cut:], zeros, zeros, steps_2, weights)
    first = run_backward(dhs[:, :cut], second.h0, second.c0, steps_1, weights)
    np.testing.assert_allclose(np.concatenate([first.x, second.x], axis=1), whole.x, rtol=1e-13)
    np.testing.assert_allclose(first.h0, whole.h0, rtol=1e-13)
    np.testing.assert_allclose(first.c0, whole.c0, rtol=1e-13)
    for name in weights._fields:
        added = getattr(first, name) + getattr(second, name)
        np.testing.assert_allclose(added, getattr(whole, name), rtol=1e-11)


@pytest.mark.parametrize("cut", [1, 3])
def test_a_step_that_keeps_nothing_begins_anew_in_both_directions(cut) -> None:
    x, h0, c0, weights = draw_layer(2, 5, 3, 4)
    keep = np.ones((2, 5))
    keep[:, cut] = 0.0
    hs, h, c, steps = run_forward(x, h0, c0, weights, keep)
    zeros = np.zeros_like(h0)
    hs_1, _, _, steps_1 = run_forward(x[:, :cut], h0, c0, weights)
    hs_2, h_2, c_2, steps_2 = run_forward(x[:, cut:], zeros, zeros, weights)
    np.testing.assert_array_equal(np.concatenate([hs_1, hs_2], axis=1), hs)
    np.testing.assert_array_equal((h, c), (h_2, c_2))

    dhs = np.random.default_rng(1).normal(size=hs.shape)
    whole = run_backward(dhs, h, c, steps, weights, keep)
    first = run_backward(dhs[:, :cut], zeros, zeros, steps_1, weights)
    second = run_backward(dhs[:, cut:], h, c, steps_2, weights)
    np.testing.assert_allclose(np.concatenate([first.x, second.x], axis=1), whole.x, rtol=1e-13)
    np.testing.assert_allclose((first.h0, first.c0), (whole.h0, whole.c0), rtol=1e-13)
    for name in weights._fields:
        added = getattr(first, name) + getattr(second, name)
        np.testing.assert_allclose(added, getattr(whole, name), rtol=1e-11)


def test_a_lane_does_not_see_its_neighbours() -> None:
    x, h0, c0, weights = draw_layer(3, 4, 2, 3)
    hs, _, _, _ = run_forward(x, h0, c0, weights)
    alone, _, _, _ = run_forward(x[1:2], h0[1:2], c0[1:2], weights)
    np.testing.assert_allclose(alone[0], hs[1], rtol=1e-13)


def test_the_last_output_is_the_last_state() -> None:
    hs, h, _, _ = run_forward(*draw_layer(2, 3, 4, 5))
    np.testing.assert_array_equal(hs[:, -1], h)


def test_float32_stays_float32() -> None:
    x, h0, c0, weights = draw_layer(2, 3, 4, 5, np.float32)
    hs, h, c, steps = run_forward(x, h0, c0, weights)
    gradients = run_backward(hs, h, c, steps, weights)
    assert {array.dtype for array in (hs, h, c, *gradients)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("x", (2, 3, 3), "x: expected shape (2, 3, 4), received (2, 3, 3)"),
        ("x", (1, 3, 4), "x: expected shape (2, 3, 4), received (1, 3, 4)"),
        ("x", (2, 4), "x: expected shape (2, 4, 4), received (2, 4)"),
        ("h0", (2, 1), "h0: expected shape (2, 5), received (2, 1)"),
        ("c0", (1, 5), "c0: expected shape (2, 5), received (1, 5)"),
        ("kernel", (4, 5), "kernel: expected shape (4, 20), received (4, 5)"),
        ("recurrent_kernel", (5, 5), "recurrent_kernel: expected shape (5, 20), received (5, 5)"),
        ("bias", (1,), "bias: expected shape (20,), received (1,)"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(name, wrong, message) -> None:
    x, h0, c0, weights = draw_layer(2, 3, 4, 5)
    arrays = {"x": x, "h0": h0, "c0": c0, **weights._asdict(), name: np.zeros(wrong)}
    weights = LSTMWeights(*(arrays[field] for field in LSTMWeights._fields))
    with pytest.raises(UsageError, match=re.escape(message)):
        run_forward(arrays["x"], arrays["h0"], arrays["c0"], weights)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("dhs", (2, 1, 5), "dhs: expected shape (2, 3, 5), received (2, 1, 5)"),
        ("dh", (2, 1), "dh_last: expected shape (2, 5), received (2, 1)"),
        ("dc", (1, 5), "dc_last: expected shape (2, 5), received (1, 5)"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused(name, wrong, message) -> None:
    x, h0, c0, weights = draw_layer(2, 3, 4, 5)
    hs, h, c, steps = run_forward(x, h0, c0, weights)
    arrays = {"dhs": hs, "dh": h, "dc": c, name: np.zeros(wrong)}
    with pytest.raises(UsageError, match=re.escape(message)):
        run_backward(arrays["dhs"], arrays["dh"], arrays["dc"], steps, weights)


def test_a_keep_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match=re.escape("keep: expected shape (2, 3), received (3,)")):
        run_forward(*draw_layer(2, 3, 4, 5), np.ones(3))
