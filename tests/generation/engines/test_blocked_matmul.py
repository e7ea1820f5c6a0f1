"""Products of rows with weights: right, and the same to the last bit whatever the other rows."""

from __future__ import annotations

import numpy as np
import pytest

from llm_timecycle.generation.engines import blocked_matmul
from llm_timecycle.generation.engines.blocked_matmul import (
    BlockedMatrix,
    Matrix,
    PlainMatrix,
    make_matrices,
    make_task,
    pad_rows,
)
from llm_timecycle.generation.engines.thread_pool import ThreadPool

SHAPES = [(5, 3), (512, 64), (100, 200), (130, 1001)]


def draw(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def multiply(matrix: Matrix, rows: np.ndarray, chunk_rows: int = 24) -> np.ndarray:
    """The whole product (B, columns), in two calls over uneven ranges of parts."""
    B, K = rows.shape
    filled = np.zeros((pad_rows(B, chunk_rows), K), rows.dtype)
    filled[:B] = rows
    out = np.full((len(filled), matrix.columns), np.nan, rows.dtype)
    cut = matrix.parts // 3
    matrix.multiply(filled, out, cut, matrix.parts)
    if cut:
        matrix.multiply(filled, out, 0, cut)
    return out[:B]


def pack(matrix: BlockedMatrix) -> None:
    cut = matrix.parts // 2
    matrix.pack(cut, matrix.parts)
    matrix.pack(0, cut)
    matrix.finish_packing()


@pytest.mark.parametrize(("K", "N"), SHAPES)
@pytest.mark.parametrize("rows", [1, 2, 3, 24, 25, 50])
def test_a_product_is_right_packed_or_not(K: int, N: int, rows: int) -> None:
    weights, x = draw(K, N), draw(rows, K, seed=2)
    exact = x.astype(np.float64) @ weights.astype(np.float64)
    matrix = BlockedMatrix(weights)
    np.testing.assert_allclose(multiply(matrix, x)[:, :N], exact, 1e-5, 1e-4)
    assert not matrix.is_packed
    pack(matrix)
    assert matrix.is_packed
    np.testing.assert_allclose(multiply(matrix, x)[:, :N], exact, 1e-5, 1e-4)
    np.testing.assert_array_equal(multiply(matrix, x)[:, N:], 0.0)
    plain = PlainMatrix(weights)
    np.testing.assert_allclose(multiply(plain, x, 1), exact, 1e-5, 1e-4)


@pytest.mark.parametrize(("K", "N"), SHAPES)
def test_a_row_is_the_same_to_the_last_bit_whatever_the_other_rows(K: int, N: int) -> None:
    weights, x = draw(K, N), draw(60, K, seed=2)
    (matrix,), chunk_rows = make_matrices([weights])
    if not isinstance(matrix, BlockedMatrix):
        pytest.skip("this machine has no direct products")
    alone = np.concatenate([multiply(matrix, x[[row]], chunk_rows) for row in range(60)])
    for rows in (2, 5, 24, 25, 60):
        assert np.array_equal(multiply(matrix, x[:rows], chunk_rows), alone[:rows])
    pack(matrix)
    assert np.array_equal(multiply(matrix, x, chunk_rows), alone)


@pytest.mark.parametrize(("K", "N"), SHAPES)
def test_plain_weights_packed_or_not_give_a_row_to_rounding_whatever_the_other_rows(
    K: int, N: int
) -> None:
    weights, x = draw(K, N), draw(60, K, seed=2)
    exact = x.astype(np.float64) @ weights.astype(np.float64)
    matrix = PlainMatrix(weights)
    for _ in range(2):
        for rows in (1, 2, 4, 5, 24, 60):
            np.testing.assert_allclose(multiply(matrix, x[:rows], 1), exact[:rows], 1e-5, 1e-4)
        matrix.pack(0, matrix.parts)
        matrix.finish_packing()
    assert matrix.is_packed


def test_a_task_done_by_several_computes_every_part_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked_matmul, "PARTS_AT_ONCE", 2)
    pairs = [(draw(9, 64 * 5 + 1), draw(2, 9, seed=2)), (draw(4, 64), draw(2, 4, seed=3))]
    outs, given = [], []
    for weights, x in pairs:
        matrix = BlockedMatrix(weights)
        outs.append(np.full((2, matrix.columns), np.nan, np.float32))
        given.append((matrix, x, outs[-1]))
    task = make_task(given)
    ThreadPool(2).run([task, task])
    for (weights, x), out in zip(pairs, outs, strict=True):
        np.testing.assert_allclose(out[:, : weights.shape[1]], x @ weights, 1e-4, 1e-5)
    outs[0][:] = np.nan
    task()  # nothing is left to do
    assert np.isnan(outs[0]).all()


def test_transposed_weights_are_packed_at_once_and_give_the_same() -> None:
    weights = draw(70, 130)
    (transposed,), chunk_rows = make_matrices([np.ascontiguousarray(weights.T).T])
    (straight,), _ = make_matrices([weights])
    assert transposed.is_packed is isinstance(transposed, BlockedMatrix)
    x = draw(3, 70, seed=2)
    np.testing.assert_allclose(
        multiply(transposed, x, chunk_rows)[:, :130],
        multiply(straight, x, chunk_rows)[:, :130],
        1e-5,
        1e-4,
    )


def test_wide_weights_are_multiplied_in_smaller_chunks() -> None:
    if not blocked_matmul._has_direct_products():
        pytest.skip("this machine has no direct products")
    assert make_matrices([draw(512, 64)])[1] == 24
    assert make_matrices([draw(1024, 64)])[1] == 14  # 14 x 64 x 1024 < 10^6 < 16 x 64 x 1024
    assert make_matrices([draw(8000, 64)])[1] == 1


def multiply_quietly(matrix: Matrix, rows: np.ndarray, chunk_rows: int) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return multiply(matrix, rows, chunk_rows)


def test_products_that_overflow_are_nobody_s_business_here() -> None:
    """Warnings are errors in these tests; an engine that meets such logits refuses them."""
    weights = draw(64, 70)
    weights[3, 65] = 3e38
    (matrix,), chunk_rows = make_matrices([weights])
    assert np.isinf(multiply_quietly(matrix, draw(4, 64), chunk_rows)[:, 65]).any()


@pytest.mark.parametrize("reason", ["float64", "no direct products", "row dependent"])
def test_weights_are_left_as_they_are_where_blocks_would_not_do(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason == "no direct products":
        monkeypatch.setattr(blocked_matmul, "_has_direct_products", lambda: False)
    if reason == "row dependent":
        monkeypatch.setattr(blocked_matmul, "_is_row_independent", lambda matrix, chunk_rows: False)
    weights = draw(8, 9).astype(np.float64 if reason == "float64" else np.float32)
    (matrix,), chunk_rows = make_matrices([weights])
    assert isinstance(matrix, PlainMatrix)
    assert chunk_rows == 1
    x = draw(2, 8).astype(weights.dtype)
    assert np.array_equal(multiply(matrix, x, chunk_rows), np.stack([row @ weights for row in x]))
