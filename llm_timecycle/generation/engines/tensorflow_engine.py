"""The network in TensorFlow, with the whole decode loop inside one compiled function.

Nothing returns to Python between two tokens. The function decodes a block of tokens per call, so
that texts can be shown, stopped and interrupted in between. It samples with
`sampling.tensorflow_pipeline` and the same uniform numbers as the NumPy engine; the same seed gives
the same text, unless float32 rounding decides a draw.

TensorFlow's rounding depends on the shape: the last bits of a row's logits can differ with the
number of rows.

Shapes: B rows, T tokens, N tokens of a block, V vocabulary, H hidden units, D inputs of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.config.weight_shapes import LAYER_NORM_EPSILON, is_residual
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines.engine import Block, group_by_length
from llm_timecycle.generation.sampling.pipeline import SamplingPlan, check_finite
from llm_timecycle.generation.sampling.tensorflow_pipeline import (
    can_sample,
    list_compile_key,
    sample_tokens,
)
from llm_timecycle.model.tf_import import refuse_after_fork

PREFILL_WINDOW = 256  # tokens of a prompt per call: bounds memory, whatever its length


class _Norm(NamedTuple):
    gamma: tf.Tensor
    beta: tf.Tensor


class _Layer(NamedTuple):
    kernel: tf.Tensor
    recurrent_kernel: tf.Tensor
    bias: tf.Tensor
    norm: _Norm | None
    """What is done with the input first; None does nothing."""
    is_residual: bool
    """Whether the input, before the norm, is added to h."""


class TensorFlowEngine:
    """A `BlockEngine` over weights by name, float32.

    >>> from llm_timecycle.config.weight_shapes import compute_parameter_shapes
    >>> settings = ModelSettings(embedding_dim=2, num_layers=1, hidden_units=3)
    >>> shapes = compute_parameter_shapes(settings, vocab_size=5)
    >>> weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    >>> engine = TensorFlowEngine(weights, settings)
    >>> engine.prefill(np.array([[4, 0, 2]])).shape, engine.step(np.array([1])).tolist()
    ((1, 5), [[0.0, 0.0, 0.0, 0.0, 0.0]])
    """

    def __init__(self, weights: Mapping[str, np.ndarray], settings: ModelSettings) -> None:
        _use_all_cores_for_one_operation()
        self._embeddings = tf.constant(weights["embedding.embeddings"])
        self._layers = [
            _Layer(
                kernel=tf.constant(weights[f"lstm_{layer}.kernel"]),
                recurrent_kernel=tf.constant(weights[f"lstm_{layer}.recurrent_kernel"]),
                bias=tf.constant(weights[f"lstm_{layer}.bias"]),
                norm=_make_norm(weights, f"layer_norm_{layer}"),
                is_residual=is_residual(settings, layer),
            )
            for layer in range(1, settings.num_layers + 1)
        ]
        self._last_norm = _make_norm(weights, "layer_norm_output")
        projection = weights.get("projection.kernel")
        self._projection = None if projection is None else tf.constant(projection)
        if settings.tie_embeddings:  # transposed once: a product with a transposed view is slow
            self._output = tf.constant(np.ascontiguousarray(weights["embedding.embeddings"].T))
        else:
            self._output = tf.constant(weights["output.kernel"])
        self._output_bias = tf.constant(weights["output.bias"])
        tokens = tf.TensorSpec((None, None), tf.int64)
        floats = tf.TensorSpec((None, settings.hidden_units), tf.float32)
        self._state_spec = [floats] * (2 * settings.num_layers)
        self._read = tf.function(
            self._read_window, input_signature=[tokens, self._state_spec], autograph=False
        )
        self._decoder: tuple[Any, Any] | None = None  # its key, and the compiled function
        self._state: list[tf.Tensor] = []
        self._logits: Any = None
        self._hidden: Any = None
        self._rows = 0

    def reset(self) -> None:
        """Forget the state: the next call starts new texts, one per row of its ids."""
        self._rows = 0

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; returns the logits (B, V) for the token after the last."""
        B, T = ids.shape
        if T == 0:
            raise UsageError("expected a prompt of at least one token, received none")
        self._begin(B)
        for start in range(0, T, PREFILL_WINDOW):
            window = tf.constant(ids[:, start : start + PREFILL_WINDOW], tf.int64)
            self._logits, self._hidden, self._state = self._read(window, self._state)
        logits: np.ndarray = self._logits.numpy()
        return logits

    def prefill_each(self, texts: Sequence[np.ndarray]) -> np.ndarray:
        """Start new texts of different lengths, one per row; see `Engine`."""
        groups, logits, states = group_by_length(texts), [], []
        for group in groups:
            self.reset()
            self.prefill(np.stack([texts[position] for position in group]))
            logits.append(self._logits)
            states.append(self._state)
        order = np.argsort([position for group in groups for position in group])
        self._logits = tf.gather(tf.concat(logits, axis=0), order)
        self._state = [
            tf.gather(tf.concat(parts, axis=0), order) for parts in zip(*states, strict=True)
        ]
        self._rows = len(texts)
        joined: np.ndarray = self._logits.numpy()
        return joined

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; returns the logits after each (B, T, V), all in memory."""
        return np.stack([self.step(column) for column in ids.T], axis=1)

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Read one more id per row (B,); returns the logits (B, V) for the token after it."""
        return self.prefill(ids[:, np.newaxis])

    def select_rows(self, rows: Sequence[int]) -> None:
        """Continue with these rows, in this order; a row may be dropped or repeated."""
        refuse_after_fork()
        indices = tf.constant(np.asarray(rows, np.int64))
        self._state = [tf.gather(part, indices) for part in self._state]
        self._logits = None if self._logits is None else tf.gather(self._logits, indices)
        self._rows = len(rows)

    def read_hidden(self) -> np.ndarray:
        """What went into the output layer last (B, H), or with a projection (B, E)."""
        hidden: np.ndarray = self._hidden.numpy()
        return hidden

    def can_decode(self, plan: SamplingPlan) -> bool:
        """Whether `decode_block` supports this plan."""
        return can_sample(plan, self._output.shape[1])

    def decode_block(
        self,
        uniforms: np.ndarray,
        plan: SamplingPlan,
        counts: Sequence[np.ndarray] | None = None,
        *,
        with_logprobs: bool = False,
    ) -> Block:
        """Sample and read a token for each row of `uniforms` (N, B); see `BlockEngine`."""
        refuse_after_fork()
        if self._logits is None:
            raise UsageError("there is no text to continue: call prefill first")
        rows = uniforms.shape[1]
        if rows != self._rows:
            raise UsageError(f"expected uniform numbers for {self._rows} rows, received {rows}")
        key = (list_compile_key(plan), with_logprobs)
        if self._decoder is None or self._decoder[0] != key:
            self._decoder = key, self._compile_decoder(plan, with_logprobs)
        no_counts = np.zeros((rows, 0), np.float64)
        counted = no_counts if counts is None else np.stack(counts).astype(np.float64)
        ids, logprobs, is_finite, checked, logits, state = self._decoder[1](
            tf.constant(uniforms), tf.constant(counted), self._logits, self._state
        )
        if not is_finite.numpy():
            check_finite(checked.numpy())
        self._logits, self._state = logits, list(state)
        return Block(ids.numpy(), logprobs.numpy() if with_logprobs else None)

    def _begin(self, rows: int) -> None:
        """Start from a state of zeros after a reset; otherwise check the number of rows."""
        refuse_after_fork()
        if self._rows == 0:
            self._state = [tf.zeros((rows, spec.shape[1])) for spec in self._state_spec]
            self._rows = rows
        elif rows != self._rows:
            raise UsageError(
                f"expected ids for {self._rows} rows, received {rows}; call reset() for new texts"
            )

    def _read_window(self, ids: tf.Tensor, state: list[tf.Tensor]) -> Any:
        """Read ids (B, T): logits (B, V) after the last, what made them, and the state."""
        x = tf.gather(self._embeddings, tf.transpose(ids))  # (T, B, D)
        new_state = []
        for number, layer in enumerate(self._layers):
            h, c = state[2 * number : 2 * number + 2]
            hs, h, c = _run_layer(_normalize(x, layer.norm), h, c, layer)
            x = x + hs if layer.is_residual else hs
            new_state += [h, c]
        return self._compute_logits(x[-1]), self._project(x[-1]), new_state

    def _step(self, ids: tf.Tensor, state: Sequence[tf.Tensor]) -> Any:
        """Read ids (B,): logits (B, V), and the state."""
        x = tf.gather(self._embeddings, ids)
        new_state = []
        for number, layer in enumerate(self._layers):
            h, c = state[2 * number : 2 * number + 2]
            z_x = _normalize(x, layer.norm) @ layer.kernel + layer.bias
            h, c = _update_cell(z_x, h, c, layer)
            x = x + h if layer.is_residual else h
            new_state += [h, c]
        return self._compute_logits(x), new_state

    def _compute_logits(self, x: tf.Tensor) -> tf.Tensor:
        """The logits (B, V) of the last layer's output (B, H)."""
        return self._project(x) @ self._output + self._output_bias

    def _project(self, x: tf.Tensor) -> tf.Tensor:
        """What goes into the output layer, of the last layer's output (B, H)."""
        x = _normalize(x, self._last_norm)
        return x if self._projection is None else x @ self._projection

    def _compile_decoder(self, plan: SamplingPlan, with_logprobs: bool) -> Any:
        """A function over a block: uniforms (N, B), counts (B, V) or (B, 0), logits, state."""
        V = self._output.shape[1]

        def decode(
            uniforms: tf.Tensor, counts: tf.Tensor, logits: tf.Tensor, state: list[tf.Tensor]
        ) -> Any:
            N = tf.shape(uniforms)[0]
            ids = tf.TensorArray(tf.int64, N, element_shape=(None,))
            logprobs = tf.TensorArray(tf.float64, N, element_shape=(None,))

            def advance(
                n: tf.Tensor,
                ids: tf.TensorArray,
                logprobs: tf.TensorArray,
                is_finite: tf.Tensor,
                checked: tf.Tensor,
                counts: tf.Tensor,
                logits: tf.Tensor,
                *state: tf.Tensor,
            ) -> Any:
                # The first logits that are not finite are kept for the error message.
                last = checked
                checked = tf.cond(is_finite, lambda: logits, lambda: last)
                is_finite = tf.reduce_all(tf.math.is_finite(checked))
                sampled = sample_tokens(logits, uniforms[n], plan, counts)
                if with_logprobs:
                    logprobs = logprobs.write(n, _compute_logprobs(logits, sampled))
                if plan.counts_tokens:
                    counts += tf.one_hot(sampled, V, dtype=tf.float64)
                logits, new_state = self._step(sampled, state)
                ids = ids.write(n, sampled)
                return n + 1, ids, logprobs, is_finite, checked, counts, logits, *new_state

            start = (0, ids, logprobs, True, logits, counts, logits, *state)
            _, ids, logprobs, is_finite, checked, _, logits, *state = tf.while_loop(
                lambda n, *_: n < N, advance, start, parallel_iterations=1
            )
            stacked = logprobs.stack() if with_logprobs else tf.zeros((0, 0), tf.float64)
            return ids.stack(), stacked, is_finite, checked, logits, state

        doubles = tf.TensorSpec((None, None), tf.float64)
        signature = [doubles, doubles, tf.TensorSpec((None, V), tf.float32), self._state_spec]
        return tf.function(decode, input_signature=signature, autograph=False)


def _make_norm(weights: Mapping[str, np.ndarray], name: str) -> _Norm | None:
    """The norm of that name; None where the weights have none."""
    if f"{name}.gamma" not in weights:
        return None
    return _Norm(tf.constant(weights[f"{name}.gamma"]), tf.constant(weights[f"{name}.beta"]))


def _normalize(x: tf.Tensor, norm: _Norm | None) -> tf.Tensor:
    """x (..., H) through a layer normalization; `reference.layer_norm` has the formula."""
    if norm is None:
        return x
    deviations = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(deviations), axis=-1, keepdims=True)
    return norm.gamma * deviations * tf.math.rsqrt(variance + LAYER_NORM_EPSILON) + norm.beta


def _run_layer(x: tf.Tensor, h: tf.Tensor, c: tf.Tensor, layer: _Layer) -> Any:
    """One layer over x (T, B, D): h after each token (T, B, H), and the last h and c (B, H)."""
    T, H = tf.shape(x)[0], layer.recurrent_kernel.shape[0]
    z_x = tf.tensordot(x, layer.kernel, 1) + layer.bias
    outputs = tf.TensorArray(tf.float32, T, element_shape=(None, H))

    def read(t: tf.Tensor, h: tf.Tensor, c: tf.Tensor, outputs: tf.TensorArray) -> Any:
        h, c = _update_cell(z_x[t], h, c, layer)
        return t + 1, h, c, outputs.write(t, h)

    _, h, c, outputs = tf.while_loop(
        lambda t, *_: t < T, read, (0, h, c, outputs), parallel_iterations=1
    )
    return outputs.stack(), h, c


def _update_cell(z_x: tf.Tensor, h: tf.Tensor, c: tf.Tensor, layer: _Layer) -> Any:
    """h and c (B, H) after a token, from z_x = x W + b (B, 4H)."""
    i, f, g, o = tf.split(z_x + h @ layer.recurrent_kernel, 4, axis=1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def _compute_logprobs(logits: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """log softmax(logits)[ids] (B,), in nats."""
    rows = tf.cast(logits, tf.float64)
    return tf.gather(rows, ids, batch_dims=1) - tf.reduce_logsumexp(rows, axis=1)


def _use_all_cores_for_one_operation() -> None:
    """Operations of a token run one after another, so a second pool of threads only disturbs."""
    try:
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        return  # TensorFlow is running already; its threads stay as they are
