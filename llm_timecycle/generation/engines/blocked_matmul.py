"""Products of rows with a matrix of weights, as fast as the weights can be read from memory.

A product with one row, or with a few, reads every weight once, and reading is the cost. For large
products, a BLAS library first packs the weights into another order, which takes longer than the
product with a few rows itself. `BlockedMatrix` keeps the weights in blocks of 64 columns, small
enough for OpenBLAS's direct kernels for AVX-512, which pack nothing. They sum the products of each
number in the order of the weights, however many rows there are: a row of the result has the same
bits whatever the other rows are. `PlainMatrix` serves all other machines: one product per row
for a few rows, a BLAS product for more, so the last bits of a row differ with the number of rows
(the draw of `sampling.gumbel` is made so that this hardly ever changes a text). Products
of always eight rows would not differ, at three and a half times the time of one row (below).

Measured on 2 cores, ms for about 35 MB of float32 weights. AMD EPYC with AVX-512 (Zen 4): in
blocks, shared by two threads, 2 rows 0.58, 8 rows 0.95, 30 rows 3.1; plain BLAS 1 row 0.70,
8 rows 3.7, 32 rows 6.0. AMD EPYC without (Zen 3): one product per row 0.51; plain BLAS 2 rows 2.1,
8 rows 1.8, 32 rows 4.0, 128 rows 13.

Shapes: B rows, K numbers of a row, N columns, R rows of a chunk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

BLOCK_COLUMNS = 64
CHUNK_ROWS_AT_MOST = 24
PARTS_AT_ONCE, PARTS_OF_MANY_ROWS_AT_ONCE = 32, 16  # that a core takes of a shared product
MANY_ROWS = 16
DIRECT_AT_MOST = 1_000_000  # rows x columns x K that OpenBLAS multiplies directly
DIRECT_KERNELS = ("skylakex", "cooperlake", "sapphirerapids")  # by OpenBLAS's names
SEPARATE_ROWS_AT_MOST = 4  # without direct kernels; more rows go into one product,
ROWS_TOGETHER = 8  # which is faster with a multiple of these


let_overflow = np.errstate(over="ignore", invalid="ignore")
"""For functions that compute with weights of any size: logits that are not finite are refused.

NumPy also warns, once in a great while, of flags that a kernel of OpenBLAS set in registers that
are no part of its result.
"""


class Matrix:
    """Weights (K, N) for products with rows.

    Attributes:
        parts: the number of parts of a product that cores can compute separately.
        columns: N, rounded up to whole parts.
        bytes: the size of the weights.
        is_packed: whether the weights are in the order that is fastest to read.
    """

    parts: int
    columns: int
    bytes: int
    is_packed: bool

    def multiply(self, rows: np.ndarray, out: np.ndarray, start: int, end: int) -> None:
        """Compute parts `start` to `end` of rows @ weights, into their columns of `out`.

        Args:
            rows: (B, K), with B from `pad_rows`. out: (B, columns).
        """
        raise NotImplementedError

    def pack(self, start: int, end: int) -> None:
        """Bring parts `start` to `end` into that order; only before they are packed."""

    def finish_packing(self) -> None:
        """Use that order from now on; every part must be in it."""


Product = tuple[Matrix, np.ndarray, np.ndarray]  # weights, rows, out, as `multiply` takes them


def make_task(products: Sequence[Product]) -> Callable[[], None]:
    """A task that any number of threads run together to compute products.

    A free thread takes the next parts, because a core that had to wake up starts late.
    """
    most_rows = max(len(rows) for _, rows, _ in products)
    at_once = PARTS_AT_ONCE if most_rows < MANY_ROWS else PARTS_OF_MANY_ROWS_AT_ONCE
    waiting = iter(
        [
            (matrix, rows, out, start, min(start + at_once, matrix.parts))
            for matrix, rows, out in products
            for start in range(0, matrix.parts, at_once)
        ]
    )

    def multiply() -> None:
        for matrix, rows, out, start, end in waiting:
            matrix.multiply(rows, out, start, end)

    return multiply


class PlainMatrix(Matrix):
    """Weights as they are; BLAS splits a product among the cores.

    Packing adds a transposed copy, which is faster when one core multiplies one row.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        self._matrix = matrix
        self._transposed: np.ndarray | None = None
        self.parts, self.columns, self.bytes = 1, matrix.shape[1], matrix.nbytes
        self.is_packed = False

    @let_overflow
    def multiply(self, rows: np.ndarray, out: np.ndarray, start: int, end: int) -> None:
        """See `Matrix`; the only part is the whole product."""
        if len(rows) == 1 and self._transposed is not None:
            np.matmul(self._transposed, rows[0], out=out[0])
        elif len(rows) <= SEPARATE_ROWS_AT_MOST:
            np.matmul(rows[:, np.newaxis], self._matrix, out=out[:, np.newaxis])
        else:
            np.matmul(rows, self._matrix, out=out)

    def pack(self, start: int, end: int) -> None:
        """See `Matrix`."""
        if start < end:
            self._transposed = np.ascontiguousarray(self._matrix.T)

    def finish_packing(self) -> None:
        """See `Matrix`."""
        self.is_packed = True


class BlockedMatrix(Matrix):
    """Weights (K, N), float32, in blocks (K, 64); the last block is padded with zeros.

    Until they are packed, the blocks are views of the matrix, which is slower but takes no memory:
    right for the first token.

    Args:
        matrix: (K, N). chunk_rows: the largest number of rows in one product.
    """

    def __init__(self, matrix: np.ndarray, chunk_rows: int = CHUNK_ROWS_AT_MOST) -> None:
        K, N = matrix.shape
        self.inner, self._chunk_rows = K, chunk_rows
        self._whole = N // BLOCK_COLUMNS
        self.parts = -(-N // BLOCK_COLUMNS)
        self.columns, self.bytes = self.parts * BLOCK_COLUMNS, matrix.nbytes
        whole_columns = self._whole * BLOCK_COLUMNS
        blocks = matrix[:, :whole_columns].reshape(K, self._whole, BLOCK_COLUMNS)
        self._source = blocks.transpose(1, 0, 2)
        self._tail = np.zeros((self.parts - self._whole, K, BLOCK_COLUMNS), matrix.dtype)
        if len(self._tail):
            self._tail[0, :, : N - whole_columns] = matrix[:, whole_columns:]
        self._packing = np.empty((self.parts, K, BLOCK_COLUMNS), matrix.dtype)
        self.is_packed = False

    @let_overflow
    def multiply(self, rows: np.ndarray, out: np.ndarray, start: int, end: int) -> None:
        """See `Matrix`; a part is a block."""
        B, K = rows.shape
        count = -(-B // self._chunk_rows)
        chunks = rows.reshape(count, B // count, K)
        spread = out.reshape(count, B // count, self.parts, BLOCK_COLUMNS).transpose(2, 0, 1, 3)
        if self.is_packed:
            np.matmul(chunks, self._packing[start:end, np.newaxis], out=spread[start:end])
            return
        whole = min(end, self._whole)
        if start < whole:
            np.matmul(chunks, self._source[start:whole, np.newaxis], out=spread[start:whole])
        if end > self._whole:
            np.matmul(chunks, self._tail[:, np.newaxis], out=spread[self._whole :])

    def pack(self, start: int, end: int) -> None:
        """See `Matrix`."""
        whole = min(end, self._whole)
        self._packing[start:whole] = self._source[start:whole]
        if end > self._whole:
            self._packing[self._whole :] = self._tail

    def finish_packing(self) -> None:
        """See `Matrix`."""
        self.is_packed = True
        self._source = self._tail = self._packing[:0]


def make_matrices(matrices: list[np.ndarray]) -> tuple[list[Matrix], int]:
    """The fastest `Matrix` class on this machine for these weights, the same for all of them.

    Returns:
        The matrices, and the largest number of rows in a chunk (1: no chunks).
    """
    K = max(len(matrix) for matrix in matrices)
    chunk_rows = min(CHUNK_ROWS_AT_MOST, DIRECT_AT_MOST // (BLOCK_COLUMNS * K) // 2 * 2)
    is_float32 = all(matrix.dtype == np.float32 for matrix in matrices)
    if is_float32 and chunk_rows >= 2 and _has_direct_products():
        blocked = [BlockedMatrix(matrix, chunk_rows) for matrix in matrices]
        for matrix, source in zip(blocked, matrices, strict=True):
            if source.strides[1] != source.itemsize:  # a transposed view would round differently
                matrix.pack(0, matrix.parts)
                matrix.finish_packing()
        if all(_is_row_independent(matrix, chunk_rows) for matrix in blocked):
            return list(blocked), chunk_rows
    return [PlainMatrix(matrix) for matrix in matrices], 1


def pad_rows(rows: int, chunk_rows: int) -> int:
    """The number of rows to allocate: chunks of one even size, `chunk_rows` at most.

    >>> [pad_rows(rows, 24) for rows in (1, 2, 3, 24, 25, 32, 128)]
    [2, 2, 4, 24, 28, 32, 132]

    Without chunks (`chunk_rows` 1), a number that BLAS is fast with:

    >>> [pad_rows(rows, 1) for rows in (1, 4, 5, 8, 25)]
    [1, 4, 8, 8, 32]
    """
    if chunk_rows == 1:
        return rows if rows <= SEPARATE_ROWS_AT_MOST else -(-rows // ROWS_TOGETHER) * ROWS_TOGETHER
    chunks = -(-rows // chunk_rows)
    each = -(-rows // chunks)
    return chunks * (each + each % 2)


def _has_direct_products() -> bool:
    """Whether NumPy uses an OpenBLAS with direct kernels for small products on this processor."""
    try:
        from numpy._core._multiarray_umath import (  # type: ignore[import-not-found]
            __cpu_features__ as features,
        )

        libraries: Any = np.show_config(mode="dicts")
        name = libraries["Build Dependencies"]["blas"]["name"]
    except (ImportError, KeyError, TypeError):
        return False
    kernels = os.environ.get("OPENBLAS_CORETYPE") or DIRECT_KERNELS[0]  # which may name others
    is_direct = bool(features.get("AVX512_SKX")) and kernels.lower() in DIRECT_KERNELS
    return "openblas" in name and is_direct


def _is_row_independent(matrix: BlockedMatrix, chunk_rows: int) -> bool:
    """Whether a row's product has the same bits with one other row as with a full chunk."""
    rows = np.random.default_rng(0).standard_normal((chunk_rows, matrix.inner), np.float32)
    together = np.empty((chunk_rows, matrix.columns), np.float32)
    alone = np.empty((2, matrix.columns), np.float32)
    matrix.multiply(rows, together, 0, 1)
    matrix.multiply(rows[-2:], alone, 0, 1)
    return np.array_equal(alone[:, :BLOCK_COLUMNS], together[-2:, :BLOCK_COLUMNS])
