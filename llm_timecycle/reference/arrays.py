"""The kinds of array that the reference works on, and what it refuses.

NumPy would stretch a wrong shape to fit and count a negative token from the end; here both are
errors. Nothing sets a number type: float64 in gives float64 out, float32 gives float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_timecycle.errors import UsageError

Array = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]


def check_shape(name: str, array: NDArray[Any], expected: tuple[int, ...]) -> None:
    """Refuse an array of another shape than `expected`.

    Raises:
        UsageError: the shapes differ.

    >>> check_shape("bias", np.zeros(4), (4,))
    """
    if array.shape != expected:
        raise UsageError(
            f"{name}: expected shape {expected}, received {array.shape}. "
            "Give an array of that shape."
        )


def check_names_and_shapes(
    name: str, arrays: Mapping[str, Array], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse named arrays that are not exactly the `expected` ones.

    Raises:
        UsageError: a name is missing or unknown, or a shape differs.

    >>> check_names_and_shapes("gradients", {"w": np.zeros((2, 3))}, {"w": (2, 3)})
    """
    if arrays.keys() != expected.keys():
        missing = sorted(expected.keys() - arrays.keys())
        unknown = sorted(arrays.keys() - expected.keys())
        raise UsageError(
            f"{name}: expected the names {sorted(expected)}; missing {missing}, unknown {unknown}. "
            "Add the missing ones and remove the unknown ones."
        )
    for key, shape in expected.items():
        check_shape(f"{name} {key}", arrays[key], shape)


def check_tokens(name: str, tokens: Integers, vocab_size: int) -> None:
    """Refuse tokens that are not integers from 0 to `vocab_size` - 1.

    Raises:
        UsageError: the numbers are not integers, or one of them is outside the vocabulary.

    >>> check_tokens("targets", np.array([0, 2]), vocab_size=3)
    """
    if not np.issubdtype(tokens.dtype, np.integer):
        raise UsageError(f"{name}: expected integers, received {tokens.dtype}. Pass token ids.")
    outside = tokens[(tokens < 0) | (tokens >= vocab_size)]
    if outside.size:
        raise UsageError(
            f"{name}: expected tokens from 0 to {vocab_size - 1}, received {outside.flat[0]}. "
            "Encode the text with the vocabulary of this network."
        )
