"""The lanes of a batch cut into shards that compute in parallel, on threads or on replicas.

The matrix products of an LSTM are small and depend on one another. Cores that split each product
wait for each other at the end of every one; cores that have their own lanes wait only at the end
of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf


def split_lanes(tensors: Sequence[tf.Tensor | None], shards: int) -> list[list[Any]]:
    """Tensors of all lanes (B, ...) as `shards` lists of the same tensors with about B / shards.

    None stays None; the first is a tensor.
    """
    if shards == 1:
        return [list(tensors)]
    B = tf.shape(tensors[0])[0]
    bounds = [B * shard // shards for shard in range(shards + 1)]
    return [
        [None if tensor is None else tensor[start:end] for tensor in tensors]
        for start, end in pairwise(bounds)
    ]


def join_lanes(shards: Sequence[Sequence[tf.Tensor]]) -> list[tf.Tensor]:
    """The inverse of `split_lanes`."""
    if len(shards) == 1:
        return list(shards[0])
    return [tf.concat(tensors, axis=0) for tensors in zip(*shards, strict=True)]


def distribute(strategy: tf.distribute.Strategy, value: np.ndarray | tf.Tensor) -> Any:
    """A value for all lanes (B, ...) as the strategy's value with B / replicas lanes each."""
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return tf.convert_to_tensor(value)
    shards = tf.split(tf.convert_to_tensor(value), replicas, axis=0)
    return strategy.experimental_distribute_values_from_function(
        lambda context: shards[context.replica_id_in_sync_group]
    )


def gather(strategy: tf.distribute.Strategy, value: Any) -> np.ndarray:
    """The inverse of `distribute`: all lanes (B, ...) as an array."""
    shards: Sequence[tf.Tensor] = strategy.experimental_local_results(value)
    return np.concatenate([shard.numpy() for shard in shards], axis=0)


def read_first(strategy: tf.distribute.Strategy, value: Any) -> float:
    """A number that is the same on every replica."""
    return float(strategy.experimental_local_results(value)[0])
