"""The lanes of a batch cut into parts that compute side by side, one on each core.

An LSTM's products are small and wait for each other. Cores that share each of them wait for one
another at the end of every one; cores with lanes of their own never wait until the step's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import tensorflow as tf


def split_lanes(tensors: Sequence[tf.Tensor], parts: int) -> list[list[tf.Tensor]]:
    """Tensors of all lanes (B, ...) as `parts` lists of the same tensors with about B / parts."""
    B = tf.shape(tensors[0])[0]
    bounds = [B * part // parts for part in range(parts + 1)]
    return [[tensor[start:end] for tensor in tensors] for start, end in pairwise(bounds)]


def join_lanes(parts: Sequence[Sequence[tf.Tensor]]) -> list[tf.Tensor]:
    """The inverse of `split_lanes`."""
    return [tf.concat(tensors, axis=0) for tensors in zip(*parts, strict=True)]
