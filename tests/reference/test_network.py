"""The whole network: a tiny one in scalar arithmetic, numeric gradients, laws, what is refused."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import UsageError
from llm_timecycle.reference.activation_penalty import (
    PenaltyWeights,
    compute_activation_penalty,
)
from llm_timecycle.reference.losses import compute_cross_entropy
from llm_timecycle.reference.network import (
    backward,
    forward,
    loss_and_gradients,
    make_zero_states,
)

B, T, V = 2, 3, 6
# (num_layers, embedding_dim, hidden_units, tie_embeddings)
NETWORKS = [(1, 3, 2, False), (2, 2, 3, False), (3, 2, 2, True), (2, 3, 2, True), (1, 2, 4, True)]


def draw_params(L=2, E=3, H=2, tie=False, norm=False, dtype=np.float64):
    """Random parameters under the names and in the shapes of the settings."""
    settings = ModelSettings(
        num_layers=L, embedding_dim=E, hidden_units=H, tie_embeddings=tie, layer_norm=norm
    )
    generator = np.random.default_rng([L, E, H, tie])
    return {
        name: generator.normal(scale=0.7, size=shape).astype(dtype)
        for name, shape in compute_parameter_shapes(settings, V).items()
    }


def draw_inputs(params, seed=0):
    """Random tokens, targets and states."""
    generator = np.random.default_rng(seed)
    tokens, targets = generator.integers(0, V, size=(2, B, T))
    states = [
        generator.normal(size=state.shape).astype(state.dtype)
        for state in make_zero_states(params, B)
    ]
    return tokens, targets, states


def draw_masks(L, E, H):
    """Random masks of every kind: per value, per window (variational), of weights and words."""
    generator = np.random.default_rng(7)

    def draw(*shape):
        return generator.integers(0, 2, size=shape) / 0.5 + generator.uniform(0.1, 0.2, size=shape)

    masks = {"input_dropout": draw(B, 1, E), "output_dropout": draw(B, T, H)}
    masks["embedding.embeddings"] = draw(V, 1)
    masks |= {f"layer_dropout_{layer}": draw(B, T, H) for layer in range(1, L)}
    masks |= {f"lstm_{layer}.recurrent_kernel": draw(H, 4 * H) for layer in range(1, L + 1)}
    return masks


def test_one_token_in_scalar_arithmetic() -> None:
    params = {
        "embedding.embeddings": np.array([[9.0], [0.5]]),
        "lstm_1.kernel": np.array([[0.1, 0.2, 0.3, 0.4]]),
        "lstm_1.recurrent_kernel": np.array([[0.5, -0.6, 0.7, -0.8]]),
        "lstm_1.bias": np.array([0.0, 1.0, 0.0, 0.0]),
        "output.kernel": np.array([[2.0, -1.0]]),
        "output.bias": np.array([0.1, 0.3]),
    }
    # x = 0.5 (token 1), h = c = 0, so the forget gate has nothing to keep.
    i, g, o = 1 / (1 + math.exp(-0.05)), math.tanh(0.15), 1 / (1 + math.exp(-0.2))
    h = o * math.tanh(i * g)
    z = [2 * h + 0.1, -h + 0.3]
    loss = -math.log(math.exp(z[1]) / (math.exp(z[0]) + math.exp(z[1])))

    tokens, targets, states = np.array([[1]]), np.array([[1]]), make_zero_states(params, 1)
    logits, (h_found, c_found), _ = forward(params, tokens, states)
    np.testing.assert_allclose(logits, [[z]], rtol=1e-14)
    assert (h_found.item(), c_found.item()) == pytest.approx((h, i * g), rel=1e-14)
    found, _, _ = loss_and_gradients(params, tokens, targets, states)
    assert found == pytest.approx(loss, rel=1e-14)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("drops", [False, True])
def test_every_gradient_is_the_numeric_one(network, drops, check_gradients) -> None:
    params = draw_params(*network)
    masks = draw_masks(*network[:3]) if drops else {}
    tokens, targets, states = draw_inputs(params)

    def compute_loss() -> float:
        return compute_cross_entropy(forward(params, tokens, states, masks)[0], targets)

    loss, gradients, _ = loss_and_gradients(params, tokens, targets, states, masks)
    assert loss == compute_loss()
    check_gradients(compute_loss, params, gradients)


@pytest.mark.parametrize("network", NETWORKS)
def test_two_pieces_with_carried_states_equal_one(network) -> None:
    params = draw_params(*network)
    tokens, _, states = draw_inputs(params)
    whole, last, _ = forward(params, tokens, states)
    first, middle, _ = forward(params, tokens[:, :2], states)
    second, last_of_two, _ = forward(params, tokens[:, 2:], middle)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-12)
    for one, two in zip(last, last_of_two, strict=True):
        np.testing.assert_array_equal(one, two)


# (num_layers, embedding_dim, hidden_units, tie_embeddings, layer_norm)
NORMALIZED = [(3, 2, 3, False, True), (2, 3, 3, True, True), (1, 3, 3, False, True)]


@pytest.mark.parametrize("network", [*NORMALIZED, (3, 2, 3, True, False), (1, 3, 3, False, False)])
@pytest.mark.parametrize("residual", [False, True])
def test_every_gradient_is_the_numeric_one_with_norms_and_residuals(
    network, residual, check_gradients
) -> None:
    params = draw_params(*network)
    masks = draw_masks(*network[:3])
    tokens, targets, states = draw_inputs(params)
    keep = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    penalty = PenaltyWeights(alpha=0.3, beta=0.7)

    def compute_loss() -> float:
        logits, _, cache = forward(params, tokens, states, masks, keep, residual=residual)
        more = compute_activation_penalty(cache.y, cache.h, penalty, keep)
        return compute_cross_entropy(logits, targets) + more

    loss, gradients, _ = loss_and_gradients(
        params, tokens, targets, states, masks, keep, residual=residual, penalty=penalty
    )
    check_gradients(compute_loss, params, gradients)
    plain_loss, *_ = loss_and_gradients(
        params, tokens, targets, states, masks, keep, residual=residual
    )
    assert loss == plain_loss < compute_loss()  # the penalties are in the gradient alone


def test_layers_that_say_nothing_pass_the_embedding_on_with_residuals() -> None:
    """LSTM layers of zeros give h = 0: what is left is Emb W + b."""
    params = draw_params(3, 2, 2)
    silent = {n: np.zeros_like(p) if n.startswith("lstm") else p for n, p in params.items()}
    tokens, _, _ = draw_inputs(params)
    logits, _, _ = forward(silent, tokens, make_zero_states(params, B), residual=True)
    embedded = params["embedding.embeddings"][tokens]
    expected = embedded @ params["output.kernel"] + params["output.bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-12)


def test_the_first_layer_has_no_residual_where_the_widths_differ() -> None:
    params = draw_params(1, 3, 2)
    tokens, _, states = draw_inputs(params)
    one, _, _ = forward(params, tokens, states)
    other, _, _ = forward(params, tokens, states, residual=True)
    np.testing.assert_array_equal(one, other)


def test_what_goes_into_the_output_layer_is_normalized() -> None:
    params = draw_params(1, 3, 4, norm=True)
    tokens, _, states = draw_inputs(params)
    _, _, cache = forward(params, tokens, states)
    deviations = cache.h - cache.h.mean(-1, keepdims=True)
    z = deviations / np.sqrt(cache.h.var(-1, keepdims=True) + 1e-5)
    gamma, beta = params["layer_norm_output.gamma"], params["layer_norm_output.beta"]
    np.testing.assert_allclose(cache.y, gamma * z + beta, rtol=1e-10)


def test_a_dropped_word_says_nothing_wherever_it_occurs_and_is_still_predicted() -> None:
    params = draw_params(2, 2, 2, tie=True)
    tokens, targets, states = draw_inputs(params)
    mask = np.ones((V, 1))
    mask[tokens[0, 1]] = 0.0
    one, _, _ = forward(params, tokens, states, {"embedding.embeddings": mask})
    changed = {**params, "embedding.embeddings": params["embedding.embeddings"] * mask}
    other, _, _ = forward(changed, tokens, states)
    kept = np.flatnonzero(mask)
    np.testing.assert_allclose(one[..., kept], other[..., kept], rtol=1e-12)
    dropped = tokens[0, 1]
    assert not np.allclose(one[..., dropped], params["output.bias"][dropped])
    _, gradients, _ = loss_and_gradients(
        params, tokens, targets, states, {"embedding.embeddings": mask}
    )
    assert gradients["embedding.embeddings"][dropped].any()  # from the output alone


def test_tied_output_is_the_embedding_turned_round() -> None:
    tied = draw_params(2, 3, 2, tie=True)
    P, embeddings = tied["projection.kernel"], tied["embedding.embeddings"]
    untied = {name: array for name, array in tied.items() if name != "projection.kernel"}
    untied["output.kernel"] = P @ embeddings.T
    tokens, targets, states = draw_inputs(tied)
    loss, gradients, _ = loss_and_gradients(tied, tokens, targets, states)
    untied_loss, untied_gradients, _ = loss_and_gradients(untied, tokens, targets, states)
    assert loss == pytest.approx(untied_loss, rel=1e-14)
    dW = untied_gradients["output.kernel"]
    np.testing.assert_allclose(gradients["projection.kernel"], dW @ embeddings, rtol=1e-12)
    np.testing.assert_allclose(
        gradients["embedding.embeddings"],
        untied_gradients["embedding.embeddings"] + dW.T @ P,
        rtol=1e-12,
    )


def test_embeddings_that_were_not_read_get_no_gradient() -> None:
    params = draw_params()
    _, targets, states = draw_inputs(params)
    tokens = np.array([[1, 1, 4], [4, 1, 1]])
    _, gradients, _ = loss_and_gradients(params, tokens, targets, states)
    is_touched = gradients["embedding.embeddings"].any(axis=1)
    assert is_touched.tolist() == [False, True, False, False, True, False]


def test_masks_of_ones_change_nothing() -> None:
    params = draw_params()
    tokens, targets, states = draw_inputs(params)
    masks = {name: np.ones_like(mask) for name, mask in draw_masks(2, 3, 2).items()}
    loss, gradients, _ = loss_and_gradients(params, tokens, targets, states)
    masked_loss, masked, _ = loss_and_gradients(params, tokens, targets, states, masks)
    assert masked_loss == loss
    for name in params:
        np.testing.assert_array_equal(masked[name], gradients[name])


def test_dropping_every_input_hides_the_tokens() -> None:
    params = draw_params()
    tokens, _, states = draw_inputs(params)
    masks = {"input_dropout": np.zeros((B, T, 3))}
    one, _, _ = forward(params, tokens, states, masks)
    other, _, _ = forward(params, (tokens + 1) % V, states, masks)
    np.testing.assert_array_equal(one, other)


def test_dropping_every_output_leaves_the_bias() -> None:
    params = draw_params()
    tokens, _, states = draw_inputs(params)
    logits, _, _ = forward(params, tokens, states, {"output_dropout": np.zeros((1, 1, 2))})
    np.testing.assert_array_equal(logits, np.broadcast_to(params["output.bias"], (B, T, V)))


def test_dropping_between_layers_hides_the_first_from_the_second() -> None:
    params = draw_params()
    tokens, _, states = draw_inputs(params)
    masks = {"layer_dropout_1": np.zeros((B, 1, 2))}
    _, one, _ = forward(params, tokens, states, masks)
    _, other, _ = forward(params, (tokens + 1) % V, states, masks)
    assert not np.array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[2], other[2])


def test_weight_drop_is_a_network_with_those_weights_gone() -> None:
    params = draw_params()
    tokens, targets, states = draw_inputs(params)
    name = "lstm_2.recurrent_kernel"
    mask = np.tile([[0.0, 2.0]], (2, 4))
    loss, gradients, _ = loss_and_gradients(params, tokens, targets, states, {name: mask})
    smaller = {**params, name: params[name] * mask}
    expected_loss, expected, _ = loss_and_gradients(smaller, tokens, targets, states)
    assert loss == expected_loss
    np.testing.assert_array_equal(gradients[name], expected[name] * mask)


def test_zero_states_are_h_and_c_of_every_layer() -> None:
    states = make_zero_states(draw_params(3, 2, 4), 5)
    assert [state.shape for state in states] == [(5, 4)] * 6
    assert not any(state.any() for state in states)


@pytest.mark.parametrize("tie", [False, True])
def test_float32_stays_float32(tie) -> None:
    params = draw_params(tie=tie, dtype=np.float32)
    tokens, targets, states = draw_inputs(params)
    logits, _, _ = forward(params, tokens, states)
    _, gradients, new_states = loss_and_gradients(params, tokens, targets, states)
    arrays = [logits, *gradients.values(), *states, *new_states]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", ["embedding.embeddings", "lstm_1.recurrent_kernel"])
def test_a_missing_matrix_is_named(name) -> None:
    params = draw_params()
    del params[name]
    with pytest.raises(UsageError, match=f"params: expected a matrix {name}"):
        make_zero_states(params, B)


@pytest.mark.parametrize("name", ["lstm_1.kernel", "lstm_2.bias", "output.bias"])
def test_a_missing_parameter_is_named(name) -> None:
    params = draw_params()
    del params[name]
    with pytest.raises(UsageError, match=re.escape(f"missing ['{name}'], unknown []")):
        make_zero_states(params, B)


def test_an_unknown_parameter_is_named() -> None:
    params = draw_params() | {"lstm_1.peephole": np.zeros(2)}
    with pytest.raises(UsageError, match=re.escape("missing [], unknown ['lstm_1.peephole']")):
        make_zero_states(params, B)


def test_a_parameter_of_another_shape_is_named() -> None:
    params = draw_params() | {"output.kernel": np.zeros((V, 2))}
    message = "params output.kernel: expected shape (2, 6), received (6, 2)"
    with pytest.raises(UsageError, match=re.escape(message)):
        make_zero_states(params, B)


def test_bad_tokens_are_refused() -> None:
    params = draw_params()
    tokens, _, states = draw_inputs(params)
    with pytest.raises(UsageError, match="tokens: expected tokens from 0 to 5, received 6"):
        forward(params, np.full((B, T), 6), states)
    with pytest.raises(UsageError, match="tokens: expected tokens from 0 to 5, received -1"):
        forward(params, np.full((B, T), -1), states)
    with pytest.raises(UsageError, match=re.escape("tokens: expected shape (B, T), received (3,)")):
        forward(params, tokens[0], states)


def test_bad_states_are_refused() -> None:
    params = draw_params()
    tokens, _, states = draw_inputs(params)
    with pytest.raises(UsageError, match="h and c of 2 layers, 4 arrays, received 2"):
        forward(params, tokens, states[:2])
    states[3] = states[3][:1]
    message = "states[3]: expected shape (2, 2), received (1, 2)"
    with pytest.raises(UsageError, match=re.escape(message)):
        forward(params, tokens, states)


def test_bad_masks_are_refused() -> None:
    params = draw_params()
    tokens, _, states = draw_inputs(params)
    with pytest.raises(UsageError, match=re.escape("received ['layer_dropout_2']")):
        forward(params, tokens, states, {"layer_dropout_2": np.ones((B, T, 2))})
    message = "masks embedding.embeddings: expected shape (6, 1)"
    with pytest.raises(UsageError, match=re.escape(message)):
        forward(params, tokens, states, {"embedding.embeddings": np.ones(V)})
    message = "masks output_dropout, applied: expected shape (2, 3, 2), received (4, 2, 3, 2)"
    with pytest.raises(UsageError, match=re.escape(message)):
        forward(params, tokens, states, {"output_dropout": np.ones((4, B, T, 2))})


def test_a_gradient_of_another_shape_is_refused() -> None:
    params = draw_params()
    tokens, _, states = draw_inputs(params)
    _, _, cache = forward(params, tokens, states)
    message = "dlogits: expected shape (2, 3, 6), received (3, 6)"
    with pytest.raises(UsageError, match=re.escape(message)):
        backward(params, cache, np.ones((T, V)))
