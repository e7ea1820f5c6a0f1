"""The LSTM on a GPU: what cuDNN is given, by an operation that computes what cuDNN documents.

On a machine with a GPU, `test_lstm.py` and `test_against_reference.py` compare cuDNN itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.model import lstm
from llm_timecycle.model.lstm import LSTM

B, T, D, H = 3, 5, 4, 6


def compute_as_cudnn(
    *,
    input: tf.Tensor,
    input_h: tf.Tensor,
    input_c: tf.Tensor,
    params: tf.Tensor,
    sequence_lengths: tf.Tensor,
    rnn_mode: str,
    time_major: bool,
    is_training: bool,
) -> tuple[tf.Tensor, ...]:
    """CudnnRNNV3 by the formulas of cuDNN's documentation (cudnnRNNMode_t, CUDNN_LSTM).

    i = sigmoid(W_i x + R_i h + b_Wi + b_Ri), likewise f, c' = tanh(...) and o; the matrices (H, D)
    and (H, H) and the biases are in params in the order i, f, c', o.
    """
    assert {t.dtype for t in (input, input_h, input_c, params)} == {tf.float32}
    assert (rnn_mode, time_major, is_training) == ("lstm", True, True)
    assert sequence_lengths.numpy().tolist() == [input.shape[0]] * input.shape[1]
    sizes = [H * input.shape[2]] * 4 + [H * H] * 4 + [H] * 8
    parts = tf.split(params, sizes)
    W = [tf.reshape(part, (H, -1)) for part in parts[:4]]
    R = [tf.reshape(part, (H, H)) for part in parts[4:8]]
    biases = [first + second for first, second in zip(parts[8:12], parts[12:], strict=True)]
    (h,), (c,), outputs = tf.unstack(input_h), tf.unstack(input_c), []
    for x in tf.unstack(input):
        i, f, new, o = (
            tf.matmul(x, w, transpose_b=True) + tf.matmul(h, r, transpose_b=True) + b
            for w, r, b in zip(W, R, biases, strict=True)
        )
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(new)
        h = tf.sigmoid(o) * tf.tanh(c)
        outputs.append(h)
    return tf.stack(outputs), h[None], c[None], tf.zeros(()), tf.zeros(())


def differentiate(layer: LSTM, weight_drop: tf.Tensor | None = None) -> list[np.ndarray]:
    """Outputs, states, and the gradients of a function of them by everything that goes in."""
    random = np.random.default_rng(0)
    x, h, c = (tf.constant(random.normal(size=s), tf.float32) for s in [(B, T, D), (B, H), (B, H)])
    with tf.GradientTape() as tape:
        tape.watch([x, h, c])
        results = layer(
            x, initial_state=[h, c], training=weight_drop is not None, drawn=weight_drop
        )
        loss = tf.add_n([tf.reduce_sum(tf.sin(tf.cast(r, tf.float32))) for r in results])
    sources = [x, h, c, *(variable.value for variable in layer.trainable_variables)]
    return [np.asarray(t, np.float32) for t in (*results, *tape.gradient(loss, sources))]


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A context in which the layer takes this machine for one with a GPU."""

    def patch() -> None:
        monkeypatch.setattr(lstm, "has_gpu", lambda: True)
        monkeypatch.setattr(tf.raw_ops, "CudnnRNNV3", compute_as_cudnn)

    return patch


def make_layer(**options: Any) -> LSTM:
    layer = LSTM(H, return_sequences=True, return_state=True, seed=1, **options)
    layer.build((B, T, D))
    layer.cell.bias.assign(np.random.default_rng(1).normal(size=4 * H))
    return layer


@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.05)])
def test_cudnn_computes_what_the_loop_does(policy: str, tolerance: float, with_gpu: Any) -> None:
    layer = make_layer(dtype=policy)
    expected = differentiate(layer)
    with_gpu()
    found = differentiate(layer)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def test_the_types_of_the_results_are_those_of_the_loop(with_gpu: Any) -> None:
    with_gpu()
    results = make_layer(dtype="mixed_bfloat16")(tf.ones((B, T, D)))
    assert [result.dtype for result in results] == [tf.bfloat16, tf.float32, tf.float32]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_dropped_weights_reach_cudnn(policy: str, with_gpu: Any) -> None:
    layer = make_layer(dtype=policy, weight_drop=0.5)
    drawn = layer.draw_step()
    expected = differentiate(layer, drawn)
    with_gpu()
    tolerance = 1e-5 if policy == "float32" else 0.05
    for got, wanted in zip(differentiate(layer, drawn), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def test_a_window_in_which_documents_begin_takes_the_loop(
    with_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x, keep = make_layer(), tf.ones((B, T, D)), tf.zeros((B, T))
    expected = layer(x, keep=keep)[0]
    with_gpu()
    monkeypatch.setattr(lstm, "run_cudnn_lstm", lambda *_, **__: pytest.fail("cuDNN was called"))
    np.testing.assert_array_equal(layer(x, keep=keep)[0], expected)
