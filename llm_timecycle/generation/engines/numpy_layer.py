"""One LSTM layer of the NumPy engine: its weights, its state, and the formulas of a token.

Shapes: see `numpy_engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from llm_timecycle.config.weight_shapes import LAYER_NORM_EPSILON
from llm_timecycle.generation.engines.blocked_matmul import Matrix, Product, pad_rows
from llm_timecycle.generation.engines.prompt_windows import Span

Share = Callable[[Sequence[Product]], None]


def pad_with_zeros(rows: np.ndarray, count: int) -> np.ndarray:
    """rows (B, K) padded with zeros to (count, K)."""
    filled = np.zeros((count, rows.shape[1]), rows.dtype)
    filled[: len(rows)] = rows
    return filled


class Norm:
    """Layer normalization of rows (..., H); `reference.layer_norm` has the formula."""

    def __init__(self, gamma: np.ndarray, beta: np.ndarray) -> None:
        self._gamma, self._beta = gamma, beta

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The normalized rows."""
        H = x.shape[-1]
        deviations = x - np.add.reduce(x, -1, keepdims=True) / H
        variance = np.add.reduce(deviations * deviations, -1, keepdims=True) / H
        z: np.ndarray = deviations / np.sqrt(variance + LAYER_NORM_EPSILON)
        z *= self._gamma
        z += self._beta
        return z


def make_norm(weights: Mapping[str, np.ndarray], name: str) -> Norm | None:
    """The norm of that name; None where the weights have none."""
    if f"{name}.gamma" not in weights:
        return None
    return Norm(weights[f"{name}.gamma"], weights[f"{name}.beta"])


class NumpyLayer:
    """One LSTM layer and its state: h (P, H), whose rows past B stay zeros, and c (B, H).

    Args:
        norm: what is done with the input first; None does nothing.
        is_residual: whether the input, before the norm, is added to h.

    Attributes:
        output: what the layer gave for the last token (P, H): h, or its sum with the input.
    """

    def __init__(
        self,
        kernel: Matrix,
        recurrent_kernel: Matrix,
        bias: np.ndarray,
        norm: Norm | None = None,
        *,
        is_residual: bool = False,
    ) -> None:
        self._kernel, self._recurrent_kernel, self._bias = kernel, recurrent_kernel, bias
        self._norm, self._is_residual = norm, is_residual
        self.hidden = len(bias) // 4
        # sigmoid(z) = (1 + tanh(z / 2)) / 2, which never overflows: one tanh serves all gates.
        self._scale = np.array([0.5, 0.5, 1.0, 0.5], bias.dtype).reshape(4, 1, 1)
        self._shift = np.array([0.5, 0.5, 0.0, 0.5], bias.dtype).reshape(4, 1, 1)

    def set_state(self, h: np.ndarray, c: np.ndarray) -> None:
        """Continue from h (P, H) and c (B, H)."""
        self.h, self.c, self.output = h, c, h
        self._x_products = np.empty((len(h), self._kernel.columns), h.dtype)
        self._h_products = np.empty_like(self._x_products)
        self._use_rows(len(c))

    def _use_rows(self, B: int) -> None:
        """Let the tokens that follow change the state of the first B rows only."""
        H = self.hidden
        self._gates = np.empty((4, B, H), self.h.dtype)
        self._each_gate = tuple(self._gates)
        self._z = self._gates.transpose(1, 0, 2)
        self._z_x, self._z_h = (
            products[:B, : 4 * H].reshape(B, 4, H)
            for products in (self._x_products, self._h_products)
        )
        self._h_used, self._c_used = self.h[:B], self.c[:B]

    @property
    def recurrent_product(self) -> Product:
        """The product h U, which the next token needs."""
        return self._recurrent_kernel, self.h, self._h_products

    def read_token(self, x: np.ndarray, share: Share, has_product: bool) -> np.ndarray:
        """Read x (P, D), with h U computed before or not; returns `output` (P, H)."""
        read = x if self._norm is None else self._norm(x)
        products = [(self._kernel, read, self._x_products)]
        share(products if has_product else [*products, self.recurrent_product])
        self._z_x += self._bias.reshape(4, -1)
        self._update(self._z_x)
        if self._is_residual:
            self.output = x + self.h
        return self.output

    def read_window(self, x: np.ndarray, spans: Sequence[Span], chunk_rows: int) -> np.ndarray:
        """Read x (N, D), in the order of time; returns the output after each token (N, H)."""
        N = len(x)
        read = x if self._norm is None else self._norm(x)
        rows = pad_with_zeros(read, pad_rows(N, chunk_rows))
        products = np.empty((len(rows), self._kernel.columns), x.dtype)
        self._kernel.multiply(rows, products, 0, self._kernel.parts)
        z = products[:N, : len(self._bias)]
        z += self._bias
        z = z.reshape(N, 4, self.hidden)
        h = np.empty((N, self.hidden), x.dtype)
        U, end = self._recurrent_kernel, 0
        last: list[slice] = []  # of each span, the rows of its last token
        for B, T in spans:
            self._use_rows(B)
            P = pad_rows(B, chunk_rows)
            before, product = self.h[:P], self._h_products[:P]
            for start in range(end, end + B * T, B):
                end = start + B
                U.multiply(before, product, 0, U.parts)
                self._update(z[start:end])
                h[start:end] = self._h_used
            last.append(slice(start, end))
        self._use_rows(len(self.c))
        if self._is_residual:
            h += x
            self.output = self.output.copy()
            for each in last:
                self.output[: each.stop - each.start] = h[each]
        return h

    def _update(self, z_x: np.ndarray) -> None:
        """Update the state by a token, from z_x = x W + b (B, 4, H) and h U."""
        gates, c = self._gates, self._c_used
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
        np.multiply(o, g, self._h_used)
