"""The network in NumPy alone: the first word comes without waiting for TensorFlow.

Each layer keeps h and c (B, H) and computes, for every token x (B, D),

    [z_i, z_f, z_g, z_o] = x W + b + h U
    c' = sigmoid(z_f) * c + sigmoid(z_i) * tanh(z_g)
    h' = sigmoid(z_o) * tanh(c')

with the weights' names and gate order of `config.parameters`. `reference.network` is its twin, and
`generation.products` is where the time goes.

Shapes: B rows, P rows with those that fill up the last chunk, T tokens, V vocabulary, E embedding,
H hidden units, D numbers of a layer's input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from llm_timecycle.config.tree import ModelSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.products import Matrix, make_matrices, pad_rows
from llm_timecycle.generation.side_by_side import Crew

PREFILL_WINDOW = 64  # tokens that one layer reads while the layer above reads those before
SHARED_FROM_BYTES = 12_000_000  # waking another core takes as long as reading about 3 MB
PARTS_AT_ONCE, PARTS_OF_MANY_ROWS_AT_ONCE = 32, 16  # of a product that cores share
PACKED_FOR_TOKENS = 64  # a prompt this long is worth bringing the layers' weights into order for


class NumpyEngine:
    """An `Engine` over weights by name, in the weights' own precision.

    A row's logits are the same, bit for bit, whatever the other rows hold, however many there are,
    and however its tokens came, in a prompt or one by one.

    The weights are used where they are (mapped from a file, for one) until the second token, and
    are then brought into the order in which they are read fastest.

    >>> from llm_timecycle.config.parameters import compute_parameter_shapes
    >>> settings = ModelSettings(embedding_dim=2, num_layers=1, hidden_units=3)
    >>> shapes = compute_parameter_shapes(settings, vocab_size=5)
    >>> weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    >>> engine = NumpyEngine(weights, settings)
    >>> engine.prefill(np.array([[4, 0, 2]])).shape, engine.step(np.array([1])).tolist()
    ((1, 5), [[0.0, 0.0, 0.0, 0.0, 0.0]])
    """

    def __init__(self, weights: Mapping[str, np.ndarray], settings: ModelSettings) -> None:
        L = settings.num_layers
        self._embeddings = weights["embedding.embeddings"]
        output = self._embeddings.T if settings.tie_embeddings else weights["output.kernel"]
        kinds = ("kernel", "recurrent_kernel")
        kernels = [weights[f"lstm_{layer}.{kind}"] for layer in range(1, L + 1) for kind in kinds]
        last = [weights[name] for name in ("projection.kernel",) if name in weights]
        self._matrices, self._chunk_rows = make_matrices([*kernels, *last, output])
        self._layers = [
            _Layer(*self._matrices[2 * n : 2 * n + 2], weights[f"lstm_{n + 1}.bias"])
            for n in range(L)
        ]
        self._last = self._matrices[2 * L :]
        self._output_bias = weights["output.bias"]
        self._crew = Crew()
        self._rows = 0

    def reset(self) -> None:
        """Forget everything: the next call begins new texts, as many as it has rows."""
        self._rows = 0

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; the logits (B, V) for the token after the last.

        Layers read side by side, each a window behind the one below; the input's product with W is
        one for all tokens of a window, and only h U waits for the token before.
        """
        B, T = ids.shape
        self._begin(B)
        if T == 0:
            raise UsageError("a prompt must hold at least one token, received none")
        if T >= PACKED_FOR_TOKENS:
            self._pack(self._matrices[: 2 * len(self._layers)])
        windows = -(-T // PREFILL_WINDOW)
        x: dict[int, np.ndarray] = {}  # what each layer has to read next

        def read_window(layer: int) -> None:
            x[layer] = self._layers[layer].read_window(x[layer], self._chunk_rows)

        for wave in range(windows + len(self._layers) - 1):
            if wave < windows:
                start = wave * PREFILL_WINDOW
                x[0] = self._embeddings[ids[:, start : start + PREFILL_WINDOW].T]  # (T, B, E)
            self._crew.run([partial(read_window, layer) for layer in x])
            x = {layer + 1: h for layer, h in x.items() if layer + 1 < len(self._layers)}
        return self._compute_logits()

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Read one more id of each row (B,); the logits (B, V) for the token after it."""
        self._begin(len(ids))
        self._pack(self._matrices)
        x = self._fill_up(self._embeddings[ids])
        for layer in self._layers:
            x = layer.read_token(x, self._share)
        return self._compute_logits()

    def select_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; a row may be left out, or named several times."""
        self._rows = len(rows)
        for layer in self._layers:
            layer.set_state(self._fill_up(layer.h[rows]), layer.c[rows])

    def _begin(self, rows: int) -> None:
        """Start from a state of zeros after a reset; else the rows must be those there are."""
        if self._rows == 0:
            self._rows = rows
            for layer in self._layers:
                zeros = np.zeros((rows, layer.hidden), self._embeddings.dtype)
                layer.set_state(self._fill_up(zeros), zeros)
        elif rows != self._rows:
            raise UsageError(
                f"expected ids for {self._rows} rows, received {rows}; call reset() to begin anew"
            )

    def _pad(self) -> int:
        """P."""
        return pad_rows(self._rows, self._chunk_rows)

    def _fill_up(self, rows: np.ndarray) -> np.ndarray:
        """rows (B, K) with as many zeros below as make (P, K)."""
        filled = np.zeros((self._pad(), rows.shape[1]), rows.dtype)
        filled[: len(rows)] = rows
        return filled

    def _compute_logits(self) -> np.ndarray:
        """The logits (B, V) after the last layer's h."""
        x = self._layers[-1].h
        for matrix in self._last:
            product = np.empty((len(x), matrix.columns), x.dtype)
            self._share([(matrix, x, product)])
            x = product[:, : self._embeddings.shape[1]]
        logits: np.ndarray = product[: self._rows, : len(self._output_bias)]
        logits += self._output_bias
        return logits

    def _share(self, products: Sequence[_Product]) -> None:
        """Compute products (weights, rows, out), the cores sharing each that is worth it."""
        P = len(products[0][1])
        weight_bytes = sum(matrix.bytes for matrix, _, _ in products)
        taken_at_once = PARTS_AT_ONCE if P < 16 else PARTS_OF_MANY_ROWS_AT_ONCE
        cuts = [
            (*product, start, min(start + taken_at_once, product[0].parts))
            for product in products
            for start in range(0, product[0].parts, taken_at_once)
        ]
        taken = iter(cuts)  # whoever is free takes the next: another core wakes up late

        def multiply() -> None:
            for matrix, rows, out, start, end in taken:
                matrix.multiply(rows, out, start, end)

        is_shared = weight_bytes * max(1, P // 4) >= SHARED_FROM_BYTES
        self._crew.run([multiply] * (self._crew.threads if is_shared else 1))

    def _pack(self, matrices: Sequence[Matrix]) -> None:
        """Bring those of the matrices into order that are not yet."""
        waiting = [matrix for matrix in matrices if not matrix.is_packed]
        if not waiting:
            return
        threads = self._crew.threads

        def pack(number: int) -> None:
            for matrix in waiting:
                matrix.pack(*(matrix.parts * n // threads for n in (number, number + 1)))

        self._crew.run([partial(pack, number) for number in range(threads)])
        for matrix in waiting:
            matrix.finish_packing()


_Product = tuple[Matrix, np.ndarray, np.ndarray]
_Share = Callable[[Sequence[_Product]], None]


class _Layer:
    """One LSTM layer and its state: h (P, H), of which the rows past B stay zeros, and c (B, H)."""

    def __init__(self, kernel: Matrix, recurrent_kernel: Matrix, bias: np.ndarray) -> None:
        self._kernel, self._recurrent_kernel, self._bias = kernel, recurrent_kernel, bias
        self.hidden = len(bias) // 4
        # sigmoid(z) is (1 + tanh(z / 2)) / 2, which no z overflows: one tanh does for all gates.
        dtype = bias.dtype
        self._scale = np.array([0.5, 0.5, 1.0, 0.5], dtype).reshape(4, 1, 1)
        self._shift = np.array([0.5, 0.5, 0.0, 0.5], dtype).reshape(4, 1, 1)

    def set_state(self, h: np.ndarray, c: np.ndarray) -> None:
        """Go on from h (P, H), c (B, H)."""
        self.h, self.c = h, c
        (P, H), B = h.shape, len(c)
        self._x_products = np.empty((P, self._kernel.columns), h.dtype)
        self._h_products = np.empty_like(self._x_products)
        self._gates = np.empty((4, B, H), h.dtype)
        self._z = self._gates.transpose(1, 0, 2)
        self._z_x, self._z_h = (
            products[:B, : 4 * H].reshape(B, 4, H)
            for products in (self._x_products, self._h_products)
        )
        self._h_read = h[:B]

    def read_token(self, x: np.ndarray, share: _Share) -> np.ndarray:
        """Read x (P, D); the new h (P, H)."""
        share(
            [
                (self._kernel, x, self._x_products),
                (self._recurrent_kernel, self.h, self._h_products),
            ]
        )
        self._z_x += self._bias.reshape(4, -1)
        self._update(self._z_x)
        return self.h

    def read_window(self, x: np.ndarray, chunk_rows: int) -> np.ndarray:
        """Read x (T, B, D); h after each token (T, B, H)."""
        T, B, D = x.shape
        rows = np.zeros((pad_rows(T * B, chunk_rows), D), x.dtype)
        rows[: T * B] = x.reshape(T * B, D)
        products = np.empty((len(rows), self._kernel.columns), x.dtype)
        self._kernel.multiply(rows, products, 0, self._kernel.parts)
        z = products[: T * B, : len(self._bias)]
        z += self._bias
        z = z.reshape(T, B, 4, self.hidden)
        h = np.empty((T, B, self.hidden), x.dtype)
        matrix = self._recurrent_kernel
        for t in range(T):
            matrix.multiply(self.h, self._h_products, 0, matrix.parts)
            self._update(z[t])
            h[t] = self._h_read
        return h

    def _update(self, z_x: np.ndarray) -> None:
        """The state after a token, from z_x = x W + b (B, 4, H) and the product with h."""
        gates = self._gates
        np.add(z_x, self._z_h, out=self._z)
        gates *= self._scale
        np.tanh(gates, out=gates)
        gates *= self._scale
        gates += self._shift
        i, f, g, o = gates
        i *= g
        self.c *= f
        self.c += i
        np.tanh(self.c, out=g)
        np.multiply(o, g, out=self._h_read)
