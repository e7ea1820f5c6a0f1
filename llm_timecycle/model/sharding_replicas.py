"""Lanes shared out over the replicas of a strategy, and brought together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def share_out(strategy: tf.distribute.Strategy, value: np.ndarray | tf.Tensor) -> Any:
    """A value for all lanes (B, ...) as the strategy's value with B / replicas lanes each."""
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return tf.convert_to_tensor(value)
    shares = tf.split(tf.convert_to_tensor(value), replicas, axis=0)
    return strategy.experimental_distribute_values_from_function(
        lambda context: shares[context.replica_id_in_sync_group]
    )


def gather(strategy: tf.distribute.Strategy, value: Any) -> np.ndarray:
    """The inverse of `share_out`: all lanes (B, ...) as an array."""
    shards: Sequence[tf.Tensor] = strategy.experimental_local_results(value)
    return np.concatenate([shard.numpy() for shard in shards], axis=0)


def read_first(strategy: tf.distribute.Strategy, value: Any) -> float:
    """A number that is the same on every replica."""
    return float(strategy.experimental_local_results(value)[0])
