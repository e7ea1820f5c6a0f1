"""The network in NumPy alone: the first word comes without waiting for TensorFlow.

Each layer keeps h and c (B, H) and computes, for every token x (B, D),

    [z_i, z_f, z_g, z_o] = x W + b + h U
    c' = sigmoid(z_f) * c + sigmoid(z_i) * tanh(z_g)
    h' = sigmoid(z_o) * tanh(c')

with the weights' names and gate order of `config.weight_shapes`. `reference.network` is its twin, and
`generation.engines.blocked_matmul` is where the time goes.

Shapes: B rows, P rows with those that fill up the last chunk, T tokens, V vocabulary, E embedding,
H hidden units, D numbers of a layer's input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial

import numpy as np

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines.blocked_matmul import (
    Matrix,
    Product,
    make_matrices,
    make_task,
    pad_rows,
)
from llm_timecycle.generation.engines.thread_pool import (
    Job,
    Task,
    ThreadPool,
    hold_library_to_one_thread,
)

PREFILL_WINDOW = 64  # tokens that one layer reads while the layer above reads those before
SHARED_FROM_BYTES = 12_000_000  # waking another core takes as long as reading about 3 MB
PACKED_FOR_TOKENS = 64  # a prompt this long is worth bringing the layers' weights into order for


class NumpyEngine:
    """An `Engine` over weights by name, in the weights' own precision.

    A row's logits are the same whatever the other rows hold, however many there are, and however
    its tokens came, in a prompt or one by one: bit for bit where the weights are in blocks
    (`generation.engines.blocked_matmul`), to float32 rounding elsewhere.

    The weights are used where they are (mapped from a file, for one) until the second token or a
    long prompt, and are then brought into the order in which they are read fastest.

    >>> from llm_timecycle.config.weight_shapes import compute_parameter_shapes
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
        self._is_in_blocks = self._chunk_rows > 1
        self._packed_for_prompts, self._packed_for_steps = self._matrices[: 2 * L], self._matrices
        if not self._is_in_blocks:  # then one core multiplies one row where a prompt gives h U
            self._packed_for_prompts, self._packed_for_steps = self._matrices[1 : 2 * L : 2], []
        self._layers = [
            _Layer(self._matrices[2 * n], self._matrices[2 * n + 1], weights[f"lstm_{n + 1}.bias"])
            for n in range(L)
        ]
        self._last = self._matrices[2 * L :]
        self._output_bias = weights["output.bias"]
        self._pool = ThreadPool()
        self._ahead: tuple[Task, list[Job]] | None = None
        self._rows = 0

    def reset(self) -> None:
        """Forget everything: the next call begins new texts, as many as it has rows."""
        self._finish_ahead()
        self._pool.wait_until_idle()
        self._rows = 0

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; the logits (B, V) for the token after the last.

        Layers read side by side, each a window behind the one below; the input's product with W is
        one for all tokens of a window, and only h U waits for the token before.
        """
        B, T = ids.shape
        self._finish_ahead()
        self._begin(B)
        if T == 0:
            raise UsageError("a prompt must hold at least one token, received none")
        if T >= PACKED_FOR_TOKENS:
            self._pack(self._packed_for_prompts)
        windows = -(-T // PREFILL_WINDOW)
        is_crowded = min(windows, len(self._layers)) > 1 and not self._is_in_blocks
        x: dict[int, np.ndarray] = {}  # what each layer has to read next

        def read_window(layer: int) -> None:
            x[layer] = self._layers[layer].read_window(x[layer], self._chunk_rows)

        with hold_library_to_one_thread() if is_crowded else nullcontext():
            for wave in range(windows + len(self._layers) - 1):
                if wave < windows:
                    start = wave * PREFILL_WINDOW
                    x[0] = self._embeddings[ids[:, start : start + PREFILL_WINDOW].T]  # (T, B, E)
                self._pool.run([partial(read_window, layer) for layer in x])
                x = {layer + 1: h for layer, h in x.items() if layer + 1 < len(self._layers)}
        return self._compute_last_logits()

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; the logits (B, T, V) after each, which memory must hold."""
        B, T = ids.shape
        self._finish_ahead()
        self._begin(B)
        x = self._embeddings[ids.T]
        for layer in self._layers:
            x = layer.read_window(x, self._chunk_rows)
        h = _fill_up(x.reshape(T * B, -1), pad_rows(T * B, self._chunk_rows))
        logits = self._compute_logits(h, T * B).reshape(T, B, -1)
        return np.swapaxes(logits, 0, 1)

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Read one more id of each row (B,); the logits (B, V) for the token after it."""
        self._begin(len(ids))
        self._pack(self._packed_for_steps)
        has_products = self._finish_ahead()
        x = self._fill_up(self._embeddings[ids])
        for layer in self._layers:
            x = layer.read_token(x, self._share, has_products)
        return self._compute_last_logits()

    def select_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; a row may be left out, or named several times."""
        self._finish_ahead()
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

    def _fill_up(self, rows: np.ndarray) -> np.ndarray:
        """rows (B, K) with as many zeros below as make (P, K)."""
        return _fill_up(rows, pad_rows(self._rows, self._chunk_rows))

    def _compute_last_logits(self) -> np.ndarray:
        """The logits (B, V) after the last layer's h.

        What the next token needs of every layer's h, h U, is known now. Another core begins with
        it when it has nothing left to do for the logits, while a token is being chosen from them.
        """
        return self._compute_logits(self._layers[-1].h, self._rows, self._start_ahead)

    def _compute_logits(
        self, h: np.ndarray, rows: int, start_next: Callable[[], None] = lambda: None
    ) -> np.ndarray:
        """The logits (rows, V) of the last layer's h (P, H); `start_next` as in `_share`."""
        x = h
        for matrix in self._last:
            product = np.empty((len(x), matrix.columns), x.dtype)
            self._share(
                [(matrix, x, product)],
                start_next if matrix is self._last[-1] else lambda: None,
            )
            x = product[:, : self._embeddings.shape[1]]
        logits: np.ndarray = product[:rows, : len(self._output_bias)]
        logits += self._output_bias
        return logits

    def _start_ahead(self) -> None:
        task = make_task([layer.recurrent_product for layer in self._layers])
        self._ahead = task, self._pool.start(task)

    def _finish_ahead(self) -> bool:
        """Whether every layer's h U is there, what was begun of it being done."""
        if self._ahead is None:
            return False
        (task, orders), self._ahead = self._ahead, None
        task()
        for order in orders:
            order.wait()
        return True

    def _is_shared(self, products: Sequence[Product]) -> bool:
        """Whether products take so long that it is worth waking another core."""
        if not self._is_in_blocks:  # then the library shares them
            return False
        weight_bytes = sum(matrix.bytes for matrix, _, _ in products)
        rows = len(products[0][1])
        return weight_bytes * max(1, rows // 4) >= SHARED_FROM_BYTES and self._pool.threads > 1

    def _share(
        self, products: Sequence[Product], start_next: Callable[[], None] = lambda: None
    ) -> None:
        """Compute products, the cores sharing those that are worth it.

        Args:
            start_next: called when the other threads have been told what to do, where there are
                any; it may give them more, to be done after it.
        """
        if not self._is_shared(products):
            for matrix, rows, out in products:
                matrix.multiply(rows, out, 0, matrix.parts)
            return
        task = make_task(products)
        orders = self._pool.start(task)
        start_next()
        task()
        for order in orders:
            order.wait()

    def _pack(self, matrices: Sequence[Matrix]) -> None:
        """Bring those of the matrices into order that are not yet."""
        waiting = [matrix for matrix in matrices if not matrix.is_packed]
        if not waiting:
            return
        threads = self._pool.threads

        def pack(number: int) -> None:
            for matrix in waiting:
                matrix.pack(*(matrix.parts * n // threads for n in (number, number + 1)))

        self._pool.run([partial(pack, number) for number in range(threads)])
        for matrix in waiting:
            matrix.finish_packing()


_Share = Callable[[Sequence[Product]], None]


def _fill_up(rows: np.ndarray, count: int) -> np.ndarray:
    """rows (B, K) with as many zeros below as make (count, K)."""
    filled = np.zeros((count, rows.shape[1]), rows.dtype)
    filled[: len(rows)] = rows
    return filled


class _Layer:
    """One LSTM layer and its state: h (P, H), of which the rows past B stay zeros, and c (B, H)."""

    def __init__(self, kernel: Matrix, recurrent_kernel: Matrix, bias: np.ndarray) -> None:
        self._kernel, self._recurrent_kernel, self._bias = kernel, recurrent_kernel, bias
        self.hidden = len(bias) // 4
        # sigmoid(z) is (1 + tanh(z / 2)) / 2, which no z overflows: one tanh does for all gates.
        self._scale = np.array([0.5, 0.5, 1.0, 0.5], bias.dtype).reshape(4, 1, 1)
        self._shift = np.array([0.5, 0.5, 0.0, 0.5], bias.dtype).reshape(4, 1, 1)

    def set_state(self, h: np.ndarray, c: np.ndarray) -> None:
        """Go on from h (P, H), c (B, H)."""
        self.h, self.c = h, c
        (P, H), B = h.shape, len(c)
        self._x_products = np.empty((P, self._kernel.columns), h.dtype)
        self._h_products = np.empty_like(self._x_products)
        self._gates = np.empty((4, B, H), h.dtype)
        self._each_gate = tuple(self._gates)
        self._z = self._gates.transpose(1, 0, 2)
        self._z_x, self._z_h = (
            products[:B, : 4 * H].reshape(B, 4, H)
            for products in (self._x_products, self._h_products)
        )
        self._h_read = h[:B]

    @property
    def recurrent_product(self) -> Product:
        """h U, which the next token needs."""
        return self._recurrent_kernel, self.h, self._h_products

    def read_token(self, x: np.ndarray, share: _Share, has_product: bool) -> np.ndarray:
        """Read x (P, D), the product h U being there or not; the new h (P, H)."""
        products = [(self._kernel, x, self._x_products)]
        share(products if has_product else [*products, self.recurrent_product])
        self._z_x += self._bias.reshape(4, -1)
        self._update(self._z_x)
        return self.h

    def read_window(self, x: np.ndarray, chunk_rows: int) -> np.ndarray:
        """Read x (T, B, D); h after each token (T, B, H)."""
        T, B, D = x.shape
        rows = _fill_up(x.reshape(T * B, D), pad_rows(T * B, chunk_rows))
        products = np.empty((len(rows), self._kernel.columns), x.dtype)
        self._kernel.multiply(rows, products, 0, self._kernel.parts)
        z = products[: T * B, : len(self._bias)]
        z += self._bias
        z = z.reshape(T, B, 4, self.hidden)
        h = np.empty((T, B, self.hidden), x.dtype)
        U = self._recurrent_kernel
        for t in range(T):
            U.multiply(self.h, self._h_products, 0, U.parts)
            self._update(z[t])
            h[t] = self._h_read
        return h

    def _update(self, z_x: np.ndarray) -> None:
        """The state after a token, from z_x = x W + b (B, 4, H) and the product with h."""
        gates, c = self._gates, self.c
        np.add(z_x, self._z_h, self._z)
        np.multiply(gates, self._scale, gates)
        np.tanh(gates, gates)
        np.multiply(gates, self._scale, gates)
        np.add(gates, self._shift, gates)
        i, f, g, o = self._each_gate
        np.multiply(i, g, i)
        np.multiply(c, f, c)
        np.add(c, i, c)
        np.tanh(c, g)
        np.multiply(o, g, self._h_read)
