"""Weights as the page holds them: rounded, matrix by matrix, each row what gives one number.

    float32    4 bytes a weight
    float16    2 bytes a weight
    int8       1 byte a weight of a matrix, which is scale * n with a scale for each row, the
               largest weight of the row / 127; vectors stay float32

Shapes: R rows, K columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, cast, get_args

import numpy as np

from llm_timecycle.arguments import write_received
from llm_timecycle.errors import UsageError

Precision = Literal["float16", "int8", "float32"]
FLOAT16_LARGEST = 65504.0
_EMBEDDINGS = "embedding.embeddings"


def check_precision(precision: str) -> Precision:
    """The precision, if there is such a one; else UsageError."""
    if precision not in get_args(Precision):
        raise UsageError(
            f"precision: received {write_received(precision)}; expected float16, int8 or float32"
        )
    return cast(Precision, precision)


def round_weights(weights: Mapping[str, np.ndarray], precision: Precision) -> dict[str, np.ndarray]:
    """The weights by name, float32, with the values that the page has.

    Raises:
        UsageError: a weight is too large for float16.
    """
    rounded = {}
    for name, rows in _list_rows(weights):
        values = _round(name, rows, precision)
        rounded[name] = values.T if is_turned(name, rows) else values
    return rounded


def pack_weights(
    weights: Mapping[str, np.ndarray], precision: Precision
) -> tuple[list[tuple[str, tuple[int, ...]]], bytes]:
    """Name and shape, (R, K) or (R,), of each weight in order, and the bytes of all, little-endian.

    Raises:
        UsageError: a weight is too large for float16.
    """
    shapes, packed = [], []
    for name, rows in _list_rows(weights):
        shapes.append((name, rows.shape))
        if precision == "float16":
            _check_fits(name, rows)
            packed.append(rows.astype("<f2").tobytes())
        elif precision == "int8" and rows.ndim == 2:
            scales, integers = _scale_rows(rows)
            packed += [scales.astype("<f4").tobytes(), integers.tobytes()]
        else:
            packed.append(rows.astype("<f4").tobytes())
    return shapes, b"".join(packed)


def _list_rows(weights: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Each weight with the row of a number that it gives first: a token's, or an output's."""
    for name, values in weights.items():
        yield name, values.T if is_turned(name, values) else values


def is_turned(name: str, values: np.ndarray) -> bool:
    """Whether the rows that the page has are the columns of the run's matrix."""
    return values.ndim == 2 and name != _EMBEDDINGS


def _round(name: str, rows: np.ndarray, precision: Precision) -> np.ndarray:
    if precision == "float16":
        _check_fits(name, rows)
        return rows.astype(np.float16).astype(np.float32)
    if precision == "int8" and rows.ndim == 2:
        scales, integers = _scale_rows(rows)
        rounded: np.ndarray = integers.astype(np.float32) * scales[:, np.newaxis]
        return rounded
    return rows.astype(np.float32)


def _scale_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scale of each row, float32 (R,), and its integers, int8 (R, K)."""
    largest = np.abs(rows).max(axis=1)
    scales = (np.where(largest > 0, largest, 127.0) / 127.0).astype(np.float32)
    return scales, np.rint(rows / scales[:, np.newaxis]).clip(-127, 127).astype(np.int8)


def _check_fits(name: str, values: np.ndarray) -> None:
    largest = float(np.abs(values).max())
    if largest > FLOAT16_LARGEST:
        raise UsageError(
            f"{name} has a weight of {largest:,.0f}, and float16 holds at most "
            f"{FLOAT16_LARGEST:,.0f}; choose the precision float32 or int8"
        )
