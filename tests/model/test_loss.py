"""The fused output layer and loss is the plain one: losses and every gradient, every shape."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.model import loss
from llm_timecycle.model.loss import LossNetwork, compute_losses, score_tokens
from llm_timecycle.model.network import build_network, make_zero_states
from llm_timecycle.reference.losses import compute_token_losses

Case = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


def draw_case(seed: int, N: int, H: int, V: int, tied: bool, size: float = 1.0) -> Case:
    """Random hidden units, targets, kernel and bias; `size` scales the logits."""
    rng = np.random.default_rng(seed)
    shape = (V, H) if tied else (H, V)
    hidden, kernel, bias = (rng.normal(size=s) for s in ((N, H), shape, (V,)))
    targets = tf.constant(rng.integers(0, V, N), tf.int32)
    arrays = (tf.constant(array, tf.float32) for array in (hidden, kernel * size, bias * size))
    hidden, kernel, bias = arrays
    return hidden, targets, kernel, bias


def compute_plainly(
    hidden: tf.Tensor, targets: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, tied: bool
) -> tf.Tensor:
    """The same by Keras' own loss, which keeps every logit."""
    logits = tf.matmul(hidden, kernel, transpose_b=tied) + bias
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    return loss(targets, logits)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("N", "H", "V", "size"),
    [(1, 3, 2, 1.0), (5, 4, 17, 1.0), (33, 7, 1009, 1.0), (6, 5, 31, 1e4), (4, 1, 3, 0.0)],
    ids=["one row", "small", "a prime vocabulary", "large logits", "equal logits"],
)
def test_losses_and_gradients_are_those_of_the_plain_form(
    N: int, H: int, V: int, size: float, tied: bool
) -> None:
    hidden, targets, kernel, bias = draw_case(0, N, H, V, tied, size)
    weights = tf.constant(np.random.default_rng(1).uniform(-1, 2, N), tf.float32)
    results = []
    for compute in (compute_losses, compute_plainly):
        with tf.GradientTape() as tape:
            tape.watch([hidden, kernel, bias])
            losses = compute(hidden, targets, kernel, bias, tied)
            total = tf.reduce_sum(losses * weights)
        results.append([losses, *tape.gradient(total, [hidden, kernel, bias])])
    for got, expected in zip(*results, strict=True):
        scale = max(1.0, float(tf.reduce_max(tf.abs(expected))))
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-6 * scale)


def test_a_literal_worked_by_hand() -> None:
    """Logits 0, ln 3, 0: probabilities 1/5, 3/5, 1/5; the loss of token 1 is ln(5/3)."""
    hidden = tf.constant([[1.0]])
    kernel, bias = tf.constant([[0.0, np.log(3.0), 0.0]], tf.float32), tf.zeros(3)
    with tf.GradientTape() as tape:
        tape.watch([hidden, kernel, bias])
        loss = compute_losses(hidden, tf.constant([1]), kernel, bias, False)[0]
    dh, dK, db = tape.gradient(loss, [hidden, kernel, bias])
    assert float(loss) == pytest.approx(np.log(5 / 3))
    np.testing.assert_allclose(db, [0.2, -0.4, 0.2], rtol=1e-5)
    np.testing.assert_allclose(dK, [[0.2, -0.4, 0.2]], rtol=1e-5)
    assert float(dh[0, 0]) == pytest.approx(-0.4 * np.log(3), rel=1e-5)


def test_it_is_the_twin() -> None:
    hidden, targets, kernel, bias = draw_case(3, 9, 4, 13, False)
    losses = compute_losses(hidden, targets, kernel, bias, False)
    logits = hidden.numpy().astype(np.float64) @ kernel.numpy() + bias.numpy()
    np.testing.assert_allclose(losses, compute_token_losses(logits, targets.numpy()), rtol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_masking_tokens_is_leaving_them_out(tied: bool) -> None:
    hidden, targets, kernel, bias = draw_case(4, 8, 5, 11, tied)
    mask = np.array([1, 0, 1, 1, 0, 0, 1, 0], np.float32)
    kept = np.flatnonzero(mask)

    def differentiate(rows: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            tape.watch([kernel, bias])
            losses = compute_losses(
                tf.gather(hidden, rows), tf.gather(targets, rows), kernel, bias, tied
            )
            total = tf.reduce_sum(losses * mask)
        return [total.numpy(), *(g.numpy() for g in tape.gradient(total, [kernel, bias]))]

    all_rows = np.arange(8)
    for masked, subset in zip(
        differentiate(all_rows, mask), differentiate(kept, np.ones(len(kept))), strict=True
    ):
        np.testing.assert_allclose(masked, subset, rtol=1e-4, atol=1e-6)
    for nothing in differentiate(all_rows, np.zeros(8)):
        assert not nothing.any()


@pytest.mark.parametrize("tied", [False, True])
def test_bfloat16_products_stay_within_their_rounding(tied: bool) -> None:
    """A bfloat16 number is right to 2^-9; the losses, summed in float32, to a few of those."""
    hidden, targets, kernel, bias = draw_case(5, 64, 32, 301, tied, size=0.1)
    results = []
    for dtype in (tf.bfloat16, tf.float32):
        with tf.GradientTape() as tape:
            tape.watch([hidden, kernel, bias])
            losses = compute_losses(tf.cast(hidden, dtype), targets, kernel, bias, tied)
            total = tf.reduce_mean(losses)
        results.append([losses, *tape.gradient(total, [hidden, kernel, bias])])
    assert results[0][0].dtype == tf.float32
    for half, full in zip(*results, strict=True):
        error = np.linalg.norm(half - full) / np.linalg.norm(full)
        assert error < 2 * 2.0**-8, error


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_scores_are_the_losses_and_whether_the_target_is_likeliest(dtype: tf.DType) -> None:
    hidden, targets, kernel, bias = draw_case(6, 50, 3, 7, False)
    hidden = tf.cast(hidden, dtype)
    losses, is_right = score_tokens(hidden, targets, kernel, bias, False)
    logits = tf.cast(tf.matmul(hidden, tf.cast(kernel, dtype)), tf.float32) + bias
    np.testing.assert_array_equal(is_right, np.argmax(logits, axis=1) == targets)
    expected = compute_losses(hidden, targets, kernel, bias, False)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_of_equally_likely_tokens_the_first_is_the_likeliest() -> None:
    kernel, bias = tf.zeros((1, 3)), tf.constant([0.0, 1.0, 1.0])
    _, is_right = score_tokens(tf.ones((3, 1)), tf.constant([0, 1, 2]), kernel, bias, False)
    assert is_right.numpy().tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("tied", [False, True])
def test_a_network_seen_from_its_loss_is_that_network(tied: bool) -> None:
    settings = ModelSettings(embedding_dim=4, hidden_units=6, num_layers=2, tie_embeddings=tied)
    network = build_network(settings, 9, seed=1)
    rng = np.random.default_rng(0)
    tokens, targets = (tf.constant(rng.integers(0, 9, (3, 5)), tf.int32) for _ in range(2))
    states = make_zero_states(settings, 3)
    logits, *expected_states = network([tokens, *states])
    seen = LossNetwork(network)
    losses, new_states = seen.compute_losses(tokens, targets, states, training=False)
    scored, is_right, _ = seen.score(tokens, targets, states)
    expected = compute_token_losses(logits.numpy().astype(np.float64), targets.numpy())
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(scored, expected, rtol=1e-5)
    np.testing.assert_array_equal(is_right, np.argmax(logits, axis=-1) == targets)
    for got, wanted in zip(new_states, expected_states, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("tied", "dropout"), [(False, 0.3), (True, 0.3), (False, 0.0)])
def test_the_output_layer_multiplies_in_the_type_of_the_policy(
    precision: str, tied: bool, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, right before it, is computed in float32."""
    settings = ModelSettings(
        embedding_dim=6, hidden_units=6, num_layers=1, tie_embeddings=tied, dropout=dropout
    )
    seen = LossNetwork(build_network(settings, 9, seed=1, precision=precision))
    types = []
    for name in ("compute_losses", "score_tokens"):
        compute = getattr(loss, name)

        def note(hidden: tf.Tensor, *rest: Any, compute: Any = compute) -> Any:
            types.append(hidden.dtype.name)
            return compute(hidden, *rest)

        monkeypatch.setattr(loss, name, note)
    tokens = tf.constant([[1, 2], [3, 4]], tf.int32)
    states = make_zero_states(settings, 2)
    seen.compute_losses(tokens, tokens, states, training=True)
    seen.score(tokens, tokens, states)
    assert types == ["float32" if precision == "float32" else "bfloat16"] * 2
