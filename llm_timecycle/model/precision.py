"""In which number format this machine multiplies matrices faster, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import tensorflow as tf

RACE_S = 0.05  # for each product; at least three rounds
CLEARLY_FASTER = 0.7
"""Casts around bfloat16 products cost time too, so these must be clearly faster."""


def pick_precision(seconds: Mapping[tf.DType, float]) -> str:
    """The Keras dtype policy, `float32` or `mixed_bfloat16`, for products that take these times."""
    is_clear = seconds[tf.bfloat16] < CLEARLY_FASTER * seconds[tf.float32]
    return "mixed_bfloat16" if is_clear else "float32"


def race_products(
    rows: int, inner: int, width: int, now: Callable[[], float] = time.perf_counter
) -> dict[tf.DType, float]:
    """Seconds of the fastest of several products (rows, inner) x (inner, width), by type.

    Args:
        now: seconds on a clock that never goes back.
    """
    factors = {
        dtype: (tf.ones((rows, inner), dtype), tf.ones((inner, width), dtype))
        for dtype in (tf.float32, tf.bfloat16)
    }
    times: dict[tf.DType, list[float]] = {dtype: [] for dtype in factors}
    end = now() + RACE_S
    while min(len(taken) for taken in times.values()) < 3 or now() < end:
        for dtype, (x, w) in factors.items():
            start = now()
            tf.matmul(x, w)[0, 0].numpy()  # one number: from a GPU, copying all would take longest
            times[dtype].append(now() - start)
    return {dtype: min(taken) for dtype, taken in times.items()}
