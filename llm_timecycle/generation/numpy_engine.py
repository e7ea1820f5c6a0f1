"""The network in NumPy alone: the first word comes without waiting for TensorFlow.

Each layer keeps h and c (B, H) and computes, for every token x (B, D),

    [z_i, z_f, z_g, z_o] = [x, h] [W; U] + b
    c' = sigmoid(z_f) * c + sigmoid(z_i) * tanh(z_g)
    h' = sigmoid(z_o) * tanh(c')

with the weights' names and gate order of `config.parameters`. `reference.network` is its twin.

Shapes: B rows, T tokens, V vocabulary, E embedding, H hidden units, D numbers of a layer's input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llm_timecycle.config.tree import ModelSettings
from llm_timecycle.errors import UsageError

PREFILL_WINDOW = 256  # tokens of a prompt read at once: bounds its memory, whatever its length


class NumpyEngine:
    """An `Engine` over weights by name, in the weights' own precision.

    A row's logits are the same, bit for bit, whatever the other rows hold and however many there
    are: each row is multiplied on its own. That costs nothing up to about 8 rows, where one product
    for all of them is no faster.

    >>> from llm_timecycle.config.parameters import compute_parameter_shapes
    >>> settings = ModelSettings(embedding_dim=2, num_layers=1, hidden_units=3)
    >>> shapes = compute_parameter_shapes(settings, vocab_size=5)
    >>> weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    >>> engine = NumpyEngine(weights, settings)
    >>> engine.prefill(np.array([[4, 0, 2]])).shape, engine.step(np.array([1])).tolist()
    ((1, 5), [[0.0, 0.0, 0.0, 0.0, 0.0]])
    """

    def __init__(self, weights: Mapping[str, np.ndarray], settings: ModelSettings) -> None:
        self._embeddings = weights["embedding.embeddings"]
        self._layers = [
            _Layer(
                weights[f"lstm_{layer}.kernel"],
                weights[f"lstm_{layer}.recurrent_kernel"],
                weights[f"lstm_{layer}.bias"],
            )
            for layer in range(1, settings.num_layers + 1)
        ]
        self._projection = weights.get("projection.kernel")
        is_tied = settings.tie_embeddings
        self._output = self._embeddings.T if is_tied else weights["output.kernel"]
        self._output_bias = weights["output.bias"]
        self._rows = 0

    def reset(self) -> None:
        """Forget everything: the next call begins new texts, as many as it has rows."""
        self._rows = 0

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; the logits (B, V) for the token after the last.

        The input's product with W is one for all tokens of a window; only h U waits for the token
        before.
        """
        B, T = ids.shape
        self._begin(B)
        if T == 0:
            raise UsageError("a prompt must hold at least one token, received none")
        for start in range(0, T, PREFILL_WINDOW):
            x = self._embeddings[ids[:, start : start + PREFILL_WINDOW].T]  # (T, B, E)
            for layer in self._layers:
                x = layer.read_window(x)
        return self._compute_logits(x[-1])

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Read one more id of each row (B,); the logits (B, V) for the token after it."""
        self._begin(len(ids))
        x = self._embeddings[ids]
        for layer in self._layers:
            x = layer.read_token(x)
        return self._compute_logits(x)

    def select_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; a row may be left out, or named several times."""
        for layer in self._layers:
            layer.h, layer.c = layer.h[rows], layer.c[rows]
        self._rows = len(rows)

    def _begin(self, rows: int) -> None:
        """Start from a state of zeros after a reset; else the rows must be those there are."""
        if self._rows == 0:
            for layer in self._layers:
                layer.reset(rows)
            self._rows = rows
        elif rows != self._rows:
            raise UsageError(
                f"expected ids for {self._rows} rows, received {rows}; call reset() to begin anew"
            )

    def _compute_logits(self, h: np.ndarray) -> np.ndarray:
        """The logits (B, V) of the last layer's h (B, H)."""
        if self._projection is not None:
            h = _multiply_each(h, self._projection)
        logits = _multiply_each(h, self._output)
        logits += self._output_bias
        return logits


class _Layer:
    """One LSTM layer and its state h, c (B, H)."""

    def __init__(self, kernel: np.ndarray, recurrent_kernel: np.ndarray, bias: np.ndarray) -> None:
        D = len(kernel)
        self.kernels = np.concatenate([kernel, recurrent_kernel])  # [W; U], one read a token
        self.kernel, self.recurrent_kernel = self.kernels[:D], self.kernels[D:]
        self.bias = bias
        self.reset(0)

    def reset(self, rows: int) -> None:
        """Set the state to zeros (B, H)."""
        self.h = np.zeros((rows, len(self.recurrent_kernel)), self.kernels.dtype)
        self.c = np.zeros_like(self.h)

    def read_token(self, x: np.ndarray) -> np.ndarray:
        """Read x (B, D); the new h (B, H)."""
        z = _multiply_each(np.concatenate([x, self.h], axis=1), self.kernels)
        z += self.bias
        return self._update(z)

    def read_window(self, x: np.ndarray) -> np.ndarray:
        """Read x (T, B, D); h after each token (T, B, H)."""
        T, B, D = x.shape
        z = (x.reshape(T * B, D) @ self.kernel + self.bias).reshape(T, B, -1)
        h = np.empty((T, *self.h.shape), self.h.dtype)
        for t in range(T):
            z[t] += _multiply_each(self.h, self.recurrent_kernel)
            h[t] = self._update(z[t])
        return h

    def _update(self, z: np.ndarray) -> np.ndarray:
        """The state after a token, from z (B, 4H)."""
        H = self.h.shape[1]
        gates = _sigmoid(z[:, : 2 * H])
        i, f = gates[:, :H], gates[:, H:]
        self.c = f * self.c + i * np.tanh(z[:, 2 * H : 3 * H])
        self.h = _sigmoid(z[:, 3 * H :]) * np.tanh(self.c)
        return self.h


def _multiply_each(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """rows (B, K) times matrix (K, N), a product of its own for each row.

    One product for all rows rounds a row otherwise than a product for that row alone.
    """
    products: np.ndarray = np.matmul(rows[:, np.newaxis], matrix)
    return products[:, 0]


def _sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)) as (1 + tanh(z / 2)) / 2, which no z overflows."""
    gate: np.ndarray = np.tanh(0.5 * z)
    gate += 1.0
    gate *= 0.5
    return gate
