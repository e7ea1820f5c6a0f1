"""The lanes of a batch cut into shards that compute side by side, one on each core.

An LSTM's products are small and wait for each other. Cores that share each of them wait for one
another at the end of every one; cores with lanes of their own never wait until the step's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import tensorflow as tf


def split_lanes(tensors: Sequence[tf.Tensor], shards: int) -> list[list[tf.Tensor]]:
    """Tensors of all lanes (B, ...) as `shards` lists of the same tensors with about B / shards."""
    B = tf.shape(tensors[0])[0]
    bounds = [B * shard // shards for shard in range(shards + 1)]
    return [[tensor[start:end] for tensor in tensors] for start, end in pairwise(bounds)]


def join_lanes(shards: Sequence[Sequence[tf.Tensor]]) -> list[tf.Tensor]:
    """The inverse of `split_lanes`."""
    return [tf.concat(tensors, axis=0) for tensors in zip(*shards, strict=True)]
