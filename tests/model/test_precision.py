"""The race of the products: what is timed."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from llm_timecycle.model import precision


class Product:
    """A product of which one number may be read."""

    def __init__(self, values: tf.Tensor) -> None:
        self._values = values

    def __getitem__(self, place: tuple[int, int]) -> tf.Tensor:
        return self._values[place]

    def numpy(self) -> None:
        """What a GPU would take longest for."""
        pytest.fail("the whole product is copied")


def test_a_product_is_timed_without_copying_it(monkeypatch: pytest.MonkeyPatch) -> None:
    multiply: Any = tf.matmul
    monkeypatch.setattr(precision, "RACE_S", 0.0)
    monkeypatch.setattr(tf, "matmul", lambda x, w: Product(multiply(x, w)))
    ticks = iter(range(1_000))
    seconds = precision.race_products(2, 3, 4, lambda: float(next(ticks)))
    assert seconds == {tf.float32: 1.0, tf.bfloat16: 1.0}
