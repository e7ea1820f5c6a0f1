"""The network in NumPy alone: the first token does not wait for TensorFlow to start.

Each layer keeps h and c (B, H) and computes, for every token x (B, D),

    [z_i, z_f, z_g, z_o] = x W + b + h U
    c' = sigmoid(z_f) * c + sigmoid(z_i) * tanh(z_g)
    h' = sigmoid(z_o) * tanh(c')

with the weight names and the gate order of `config.weight_shapes`, and layer normalization and
residual connections where the settings have them. `reference.network` is its twin; most of the time
goes into `blocked_matmul`.

Shapes: B rows, P rows padded to whole chunks, T tokens, V vocabulary, E embedding, H hidden units,
D inputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial

import numpy as np

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.config.weight_shapes import is_residual
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines.blocked_matmul import (
    Matrix,
    Product,
    let_overflow,
    make_matrices,
    make_task,
    pad_rows,
)
from llm_timecycle.generation.engines.numpy_layer import NumpyLayer, make_norm, pad_with_zeros
from llm_timecycle.generation.engines.prompt_windows import Span, cut_into_windows, order_by_time
from llm_timecycle.generation.engines.row_states import RowStates
from llm_timecycle.generation.engines.thread_pool import (
    Job,
    Task,
    ThreadPool,
    limit_blas_to_one_thread,
)

SHARED_FROM_BYTES = 12_000_000  # waking another core takes as long as reading about 3 MB
PACKED_FOR_TOKENS = 64  # a prompt this long is worth packing the weights of the layers first


class NumpyEngine:
    """An `Engine` over weights by name, in the weights' own precision.

    The logits of a row do not depend on the other rows, on their number, or on whether its tokens
    came in a prompt or one by one: bit for bit if `is_exact`, to float32 rounding otherwise.

    The weights are used where they are (such as mapped from a file) until the second token or a
    long prompt, and are then packed into the order that is fastest to read.

    >>> from llm_timecycle.config.weight_shapes import compute_parameter_shapes
    >>> settings = ModelSettings(embedding_dim=2, num_layers=1, hidden_units=3)
    >>> shapes = compute_parameter_shapes(settings, vocab_size=5)
    >>> weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    >>> engine = NumpyEngine(weights, settings)
    >>> engine.prefill(np.array([[4, 0, 2]])).shape, engine.step(np.array([1])).tolist()
    ((1, 5), [[0.0, 0.0, 0.0, 0.0, 0.0]])

    Attributes:
        is_exact: whether the weights are in blocks (`blocked_matmul`).
    """

    def __init__(self, weights: Mapping[str, np.ndarray], settings: ModelSettings) -> None:
        L = settings.num_layers
        self._embeddings = weights["embedding.embeddings"]
        output = self._embeddings.T if settings.tie_embeddings else weights["output.kernel"]
        kinds = ("kernel", "recurrent_kernel")
        kernels = [weights[f"lstm_{layer}.{kind}"] for layer in range(1, L + 1) for kind in kinds]
        last = [weights[name] for name in ("projection.kernel",) if name in weights]
        self._matrices, self._chunk_rows = make_matrices([*kernels, *last, output])
        self.is_exact = self._chunk_rows > 1
        self._packed_for_prompts, self._packed_for_steps = self._matrices[: 2 * L], self._matrices
        if not self.is_exact:  # then only h U of a prompt is one row times one matrix
            self._packed_for_prompts, self._packed_for_steps = self._matrices[1 : 2 * L : 2], []
        self._layers = [
            NumpyLayer(
                self._matrices[2 * n - 2],
                self._matrices[2 * n - 1],
                weights[f"lstm_{n}.bias"],
                make_norm(weights, f"layer_norm_{n}"),
                is_residual=is_residual(settings, n),
            )
            for n in range(1, L + 1)
        ]
        self._last_norm = make_norm(weights, "layer_norm_output")
        self._last = self._matrices[2 * L :]
        self._output_bias = weights["output.bias"]
        self._pool = ThreadPool()
        self._ahead: tuple[Task, list[Job]] | None = None
        self._rows = 0
        self._hidden = np.zeros((0, 0), np.float32)

    def reset(self) -> None:
        """Forget the state: the next call starts new texts, one per row of its ids."""
        self._finish_ahead()
        self._pool.wait_until_idle()
        self._rows = 0

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; returns the logits (B, V) for the token after the last."""
        self.extend(list(ids))
        return self.compute_logits()

    def prefill_each(self, texts: Sequence[np.ndarray]) -> np.ndarray:
        """Start new texts of different lengths, one per row; see `Engine`."""
        self.reset()
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        self.extend([texts[row] for row in order])
        logits, rows = self.compute_logits(), np.argsort(order)
        self.select_rows(rows.tolist())
        self._hidden = self._hidden[rows]
        return logits[rows]

    @let_overflow
    def extend(self, texts: Sequence[np.ndarray]) -> None:
        """Read on, each row its own tokens.

        Layers run in parallel, each one window behind the layer below. x W is one product for all
        tokens of a window; only h U waits for the token before.

        Args:
            texts: the ids that each row reads, one or more; the longest text first.
        """
        self._finish_ahead()
        self._begin(len(texts))
        lengths = np.array([len(text) for text in texts])
        if lengths.min() == 0:
            raise UsageError("expected a prompt of at least one token, received none")
        if (lengths[1:] > lengths[:-1]).any():
            raise UsageError("expected the longest text first")
        if lengths[0] >= PACKED_FOR_TOKENS:
            self._pack(self._packed_for_prompts)
        windows = cut_into_windows(lengths.tolist())
        ids = order_by_time(texts, lengths)
        is_crowded = min(len(windows), len(self._layers)) > 1 and not self.is_exact
        x: dict[int, np.ndarray] = {}  # the next input of each layer
        read = 0

        @let_overflow  # in another thread
        def read_window(layer: int, spans: Sequence[Span]) -> None:
            x[layer] = self._layers[layer].read_window(x[layer], spans, self._chunk_rows)

        with limit_blas_to_one_thread() if is_crowded else nullcontext():
            for wave in range(len(windows) + len(self._layers) - 1):
                if wave < len(windows):
                    end = read + sum(B * T for B, T in windows[wave])
                    x[0], read = self._embeddings[ids[read:end]], end
                self._pool.run([partial(read_window, layer, windows[wave - layer]) for layer in x])
                x = {layer + 1: h for layer, h in x.items() if layer + 1 < len(self._layers)}

    def compute_logits(self) -> np.ndarray:
        """The logits (B, V) for the token after the last that each row has read.

        h U of every layer, which the next token needs, can be computed already. Another core starts
        with it once it has nothing left to do for the logits, while a token is sampled from them.
        """
        return self._multiply_output(self._layers[-1].output, self._rows, self._start_ahead)

    @let_overflow
    def read(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; returns the logits after each (B, T, V), all in memory."""
        B, T = ids.shape
        self._finish_ahead()
        self._begin(B)
        x = self._embeddings[ids.T.reshape(-1)]
        for layer in self._layers:
            x = layer.read_window(x, [(B, T)], self._chunk_rows)
        outputs = pad_with_zeros(x, pad_rows(T * B, self._chunk_rows))
        logits = self._multiply_output(outputs, T * B).reshape(T, B, -1)
        return np.swapaxes(logits, 0, 1)

    @let_overflow
    def step(self, ids: np.ndarray) -> np.ndarray:
        """Read one more id per row (B,); returns the logits (B, V) for the token after it."""
        self._begin(len(ids))
        self._pack(self._packed_for_steps)
        has_products = self._finish_ahead()
        x = self._pad(self._embeddings[ids])
        for layer in self._layers:
            x = layer.read_token(x, self._share, has_products)
        return self.compute_logits()

    def select_rows(self, rows: Sequence[int]) -> None:
        """Continue with these rows, in this order; a row may be dropped or repeated."""
        self._finish_ahead()
        self._rows = len(rows)
        for layer in self._layers:
            layer.set_state(self._pad(layer.h[rows]), layer.c[rows])

    def take_states(self) -> RowStates:
        """The state of every row, which the engine then forgets; `give_states` continues."""
        self._finish_ahead()
        states = RowStates(tuple((layer.h[: self._rows], layer.c) for layer in self._layers))
        self._rows = 0
        return states

    def give_states(self, states: RowStates) -> None:
        """Continue with these rows instead of those that the engine has."""
        self._finish_ahead()
        self._rows = len(states)
        for layer, (h, c) in zip(self._layers, states.layers, strict=True):
            layer.set_state(self._pad(h), c.copy())

    def make_zero_states(self, rows: int) -> RowStates:
        """The states of rows that have read nothing."""
        dtype = self._embeddings.dtype
        zeros = [np.zeros((rows, layer.hidden), dtype) for layer in self._layers]
        return RowStates(tuple((h, h.copy()) for h in zeros))

    def read_hidden(self) -> np.ndarray:
        """What went into the output layer last (B, H), or with a projection (B, E)."""
        return self._hidden.copy()

    def _begin(self, rows: int) -> None:
        """Start from a state of zeros after a reset; otherwise check the number of rows."""
        if self._rows == 0:
            self._rows = rows
            for layer in self._layers:
                zeros = np.zeros((rows, layer.hidden), self._embeddings.dtype)
                layer.set_state(self._pad(zeros), zeros)
        elif rows != self._rows:
            raise UsageError(
                f"expected ids for {self._rows} rows, received {rows}; call reset() for new texts"
            )

    def _pad(self, rows: np.ndarray) -> np.ndarray:
        """rows (B, K) padded with zeros to (P, K)."""
        return pad_with_zeros(rows, pad_rows(self._rows, self._chunk_rows))

    @let_overflow
    def _multiply_output(
        self, output: np.ndarray, rows: int, start_next: Callable[[], None] = lambda: None
    ) -> np.ndarray:
        """The logits (rows, V) of the last layer's output (P, H); `start_next` as in `_share`."""
        x = output if self._last_norm is None else self._last_norm(output)
        for matrix in self._last:
            self._hidden = x[:rows]
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
        """Finish h U of every layer if it was started, by threads that are still there.

        Returns whether it was.
        """
        if self._ahead is None:
            return False
        (task, jobs), self._ahead = self._ahead, None
        if any(job.is_lost for job in jobs):
            return False
        task()
        for job in jobs:
            job.wait()
        return True

    def _is_shared(self, products: Sequence[Product]) -> bool:
        """Whether products take long enough to be worth waking another core."""
        if not self.is_exact:  # then BLAS splits them
            return False
        weight_bytes = sum(matrix.bytes for matrix, _, _ in products)
        rows = len(products[0][1])
        return weight_bytes * max(1, rows // 4) >= SHARED_FROM_BYTES and self._pool.threads > 1

    def _share(
        self, products: Sequence[Product], start_next: Callable[[], None] = lambda: None
    ) -> None:
        """Compute products, split among the cores if that is worth it.

        Args:
            start_next: called once the other threads have their jobs, if they get any; it may give
                them more to do afterwards.
        """
        if not self._is_shared(products):
            for matrix, rows, out in products:
                matrix.multiply(rows, out, 0, matrix.parts)
            return
        task = make_task(products)
        jobs = self._pool.start(task)
        start_next()
        task()
        for job in jobs:
            job.wait()

    def _pack(self, matrices: Sequence[Matrix]) -> None:
        """Pack the matrices that are not packed yet."""
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
