"""Optimizers: steps worked out by hand, laws, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.optimizers import (
    AdamState,
    clip_by_global_norm,
    compute_global_norm,
    descend,
    start_adam,
    step_adam,
)


def test_descend_literal() -> None:
    after = descend({"w": np.array([1.0, -1.0])}, {"w": np.array([2.0, 4.0])}, 0.25)
    assert after["w"].tolist() == [0.5, -2.0]


def test_descend_shrinks_a_parabola_by_the_same_factor_each_step() -> None:
    # The slope of w^2 / 2 is w, so each step multiplies w by 1 - rate.
    parameters = {"w": np.array([8.0])}
    for _ in range(3):
        parameters = descend(parameters, parameters, 0.5)
    assert parameters["w"].tolist() == [1.0]


def test_adam_by_hand() -> None:
    options = {"learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 0.5}
    before = {"w": np.array([1.0])}
    # m = 0.1 * 2 = 0.2, v = 0.01 * 4 = 0.04; corrected by 0.1 and 0.01: 2 and 4.
    # 1 - 0.1 * 2 / (2 + 0.5) = 0.92
    after, state = step_adam(before, {"w": np.array([2.0])}, start_adam(before), **options)
    assert state.t == 1
    assert state.m["w"] == pytest.approx([0.2])
    assert state.v["w"] == pytest.approx([0.04])
    assert after["w"] == pytest.approx([0.92], rel=1e-12)
    # m = 0.18 - 0.1 = 0.08, v = 0.0396 + 0.01 = 0.0496; corrected by 1 - 0.81 and 1 - 0.9801:
    # 0.421053 and 2.492462, whose root is 1.578754.
    # 0.92 - 0.1 * 0.421053 / 2.078754 = 0.899745
    after, state = step_adam(after, {"w": np.array([-1.0])}, state, **options)
    assert state.t == 2
    assert state.m["w"] == pytest.approx([0.08])
    assert state.v["w"] == pytest.approx([0.0496])
    assert after["w"] == pytest.approx([0.899745], abs=1e-6)


def test_adam_defaults_are_the_papers() -> None:
    # The first step is rate * g / (|g| + epsilon); with g = epsilon = 1e-8 that is half the rate.
    before = {"w": np.array([0.0])}
    after, state = step_adam(before, {"w": np.array([1e-8])}, start_adam(before))
    assert after["w"] == pytest.approx([-0.0005], rel=1e-9)
    assert state.m["w"] == pytest.approx([0.1e-8], rel=1e-9, abs=0)
    assert state.v["w"] == pytest.approx([0.001e-16], rel=1e-9, abs=0)


def test_adam_does_not_see_the_scale_of_the_gradients() -> None:
    generator = np.random.default_rng(0)
    small = large = {"w": generator.normal(size=(3, 2))}
    small_state = large_state = start_adam(small)
    for _ in range(4):
        g = generator.normal(size=(3, 2))
        small, small_state = step_adam(small, {"w": g}, small_state, epsilon=0.0)
        large, large_state = step_adam(large, {"w": 1024 * g}, large_state, epsilon=0.0)
    np.testing.assert_allclose(small["w"], large["w"], rtol=1e-13)


def test_adam_with_a_corrected_epsilon_is_keras_form() -> None:
    rate, beta_1, beta_2, epsilon_hat = 0.01, 0.9, 0.999, 1e-3
    parameters, theta, m, v = {"w": np.array([0.3])}, 0.3, 0.0, 0.0
    state = start_adam(parameters)
    for t, g in enumerate([0.02, -0.005, 0.001, 0.03], start=1):
        epsilon = epsilon_hat / math.sqrt(1 - beta_2**t)
        parameters, state = step_adam(
            parameters, {"w": np.array([g])}, state, learning_rate=rate, epsilon=epsilon
        )
        m += (g - m) * (1 - beta_1)
        v += (g * g - v) * (1 - beta_2)
        alpha = rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        theta -= m * alpha / (math.sqrt(v) + epsilon_hat)
        assert parameters["w"] == pytest.approx([theta], rel=1e-12)


def test_global_norm_literal() -> None:
    assert compute_global_norm({"a": np.array([[2.0, 3.0]]), "b": np.array([6.0])}) == 7.0


def test_clip_shortens_and_keeps_the_direction() -> None:
    gradients = {"a": np.array([[2.0, 3.0]]), "b": np.array([6.0])}
    clipped, norm = clip_by_global_norm(gradients, max_norm=3.5)
    assert norm == 7.0
    assert clipped["a"].tolist() == [[1.0, 1.5]]
    assert clipped["b"].tolist() == [3.0]


@pytest.mark.parametrize("max_norm", [7.0, 8.0])
def test_clip_leaves_short_gradients_alone(max_norm) -> None:
    gradients = {"a": np.array([[2.0, 3.0]]), "b": np.array([6.0])}
    clipped, _ = clip_by_global_norm(gradients, max_norm)
    assert clipped["a"].tolist() == [[2.0, 3.0]]
    assert clipped["b"].tolist() == [6.0]


def test_nadam_looks_ahead_by_one_mean() -> None:
    before = {"w": np.array([1.0])}
    # m = 0.2, v = 0.004; (0.9 m + 0.1 g) / (1 - 0.9) = 3.8, sqrt(v / (1 - 0.999)) = 2
    after, state = step_adam(
        before, {"w": np.array([2.0])}, start_adam(before), epsilon=0.0, nesterov=True
    )
    assert after["w"].tolist() == pytest.approx([1.0 - 0.001 * 1.9])
    # g = -1: m = 0.18 - 0.1, v = 0.003996 + 0.001; ahead 0.9 m - 0.1 = -0.028, over 1 - 0.81
    after, _ = step_adam(before, {"w": np.array([-1.0])}, state, epsilon=0.0, nesterov=True)
    expected = 1.0 + 0.001 * (0.028 / 0.19) / math.sqrt(0.004996 / 0.001999)
    assert after["w"].tolist() == pytest.approx([expected])


def test_clip_leaves_zeros_alone() -> None:
    clipped, norm = clip_by_global_norm({"a": np.zeros(2)}, max_norm=1.0)
    assert norm == 0.0
    assert clipped["a"].tolist() == [0.0, 0.0]


def test_global_norm_of_float32_does_not_overflow() -> None:
    gradients = {"a": np.array([3e30, 4e30], np.float32)}
    assert compute_global_norm(gradients) == pytest.approx(5e30, rel=1e-6)


def test_what_goes_in_is_left_alone() -> None:
    parameters, gradients = {"w": np.array([1.0])}, {"w": np.array([10.0])}
    state = AdamState(1, {"w": np.array([0.5])}, {"w": np.array([0.25])})
    descend(parameters, gradients, 0.1)
    step_adam(parameters, gradients, state)
    clip_by_global_norm(gradients, 1.0)
    assert (parameters["w"].tolist(), gradients["w"].tolist()) == ([1.0], [10.0])
    assert (state.t, state.m["w"].tolist(), state.v["w"].tolist()) == (1, [0.5], [0.25])


def test_float32_stays_float32() -> None:
    w = {"w": np.ones(2, np.float32)}
    after, state = step_adam(w, w, start_adam(w))
    clipped, _ = clip_by_global_norm(w, 1.0)
    arrays = [descend(w, w, 0.1), after, state.m, state.v, clipped]
    assert {named["w"].dtype for named in arrays} == {np.dtype(np.float32)}


def test_other_names_are_refused() -> None:
    parameters = {"w": np.ones(1), "b": np.ones(1)}
    gradients = {"w": np.ones(1), "v": np.ones(1)}
    message = r"gradients: expected the names \['b', 'w'\]; missing \['b'\], unknown \['v'\]"
    with pytest.raises(UsageError, match=message):
        descend(parameters, gradients, 0.1)
    with pytest.raises(UsageError, match=message):
        step_adam(parameters, gradients, start_adam(parameters))
    with pytest.raises(UsageError, match=r"state m: expected the names \['w'\]; missing \['w'\]"):
        step_adam({"w": np.ones(1)}, {"w": np.ones(1)}, AdamState(0, {}, {"w": np.ones(1)}))
    with pytest.raises(UsageError, match=r"state v: expected the names \['w'\]; missing \['w'\]"):
        step_adam({"w": np.ones(1)}, {"w": np.ones(1)}, AdamState(0, {"w": np.ones(1)}, {}))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"gradients w: expected shape \(2,\), received \(1,\)"):
        descend({"w": np.ones(2)}, {"w": np.ones(1)}, 0.1)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.inf, math.nan])
def test_a_max_norm_that_bounds_nothing_is_refused(max_norm) -> None:
    with pytest.raises(UsageError, match="max_norm: expected a finite number above 0"):
        clip_by_global_norm({"w": np.ones(1)}, max_norm)


@pytest.mark.parametrize("entry", [math.inf, math.nan])
def test_gradients_that_are_not_finite_are_refused(entry) -> None:
    with pytest.raises(UsageError, match=f"expected a finite global norm, received {entry}"):
        clip_by_global_norm({"w": np.array([entry])}, 1.0)
