"""Arrays that count the operations done on them, in the convention of `profiling.analysis.flops`.

An array made from a counting one counts too. The reference is run on such arrays, so what they
count is what it really executes; nothing here knows any formula of the network.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest

from llm_timecycle.reference import activations, losses, lstm

ONE_EACH = {
    "add", "subtract", "multiply", "divide", "true_divide", "exp", "log", "sqrt", "tanh", "square",
    "power",
}  # fmt: skip
FREE = {
    "negative", "absolute", "maximum", "minimum", "greater", "greater_equal", "less", "less_equal",
    "equal", "not_equal", "isfinite", "logical_and", "logical_or", "bitwise_and", "bitwise_or",
}  # fmt: skip


class Counter:
    """How many operations were done since the last `take`."""

    def __init__(self) -> None:
        self._operations = 0

    def add(self, operations: int) -> None:
        self._operations += operations

    def take(self) -> int:
        operations, self._operations = self._operations, 0
        return operations


class CountingArray(np.ndarray):
    """A NumPy array whose operations go to `counter`."""

    counter = Counter()

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        plain = [np.asarray(x) if isinstance(x, np.ndarray) else x for x in inputs]
        if out is not None:
            options["out"] = tuple(np.asarray(x) for x in out)
        result = getattr(ufunc, method)(*plain, **options)
        self.counter.add(_count(ufunc.__name__, method, plain, result))
        if out is not None:
            return out[0]
        return _wrap(result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = super().__array_function__(func, types, args, kwargs)
        if func is np.tensordot:  # it multiplies plain arrays inside
            summed = prod(args[0].shape[axis] for axis in kwargs["axes"][0])
            self.counter.add(2 * int(np.size(result)) * summed)
        return _wrap(result)


def _count(name: str, method: str, inputs: list[Any], result: Any) -> int:
    """The operations of one call of a ufunc."""
    if name == "matmul":
        return 2 * int(np.size(result)) * int(inputs[0].shape[-1])
    if name in FREE:
        return 0
    assert name in ONE_EACH, f"a ufunc without a price: {name}"
    if method == "reduce":
        return int(np.size(inputs[0]))
    if method == "at":
        return int(np.size(inputs[2]))
    assert method == "__call__", f"a method without a price: {method}"
    return int(np.size(result))


def _wrap(result: Any) -> Any:
    return np.asarray(result).view(CountingArray) if isinstance(result, np.ndarray) else result


class _NumpyOfCountingArrays:
    """NumPy, but what is made empty counts as well, and nothing stops counting."""

    asarray = staticmethod(np.asanyarray)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def empty(shape: Any, dtype: Any = float) -> np.ndarray:
        return np.empty(shape, dtype).view(CountingArray)


def _count_sigmoid(x: np.ndarray) -> np.ndarray:
    CountingArray.counter.add(x.size)  # one operation, however it is computed
    e = np.exp(-np.abs(np.asarray(x)))
    return _wrap(np.where(np.asarray(x) >= 0, 1 / (1 + e), e / (1 + e)))


def instrument(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Let the reference count; the counter, at 0."""
    for module in (activations, losses, lstm):
        monkeypatch.setattr(module, "np", _NumpyOfCountingArrays())
    monkeypatch.setattr(lstm, "sigmoid", _count_sigmoid)
    CountingArray.counter.take()
    return CountingArray.counter
