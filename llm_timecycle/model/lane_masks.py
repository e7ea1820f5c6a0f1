"""Dropout for a part of the lanes of a step, as the step of all lanes would draw it.

One process draws dropout shard by shard: each layer has a seed that moves on with every shard.
Where a step is divided among workers, or computed in groups one after the other, the lanes that are
computed at a time are not those shards. Then the masks of the shards that these lanes belong to are
drawn whole, and cut: the same numbers, whoever computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import keras
import tensorflow as tf


@dataclass(frozen=True)
class LaneLayout:
    """Which lanes of a step are computed here, and how one process would divide all of them."""

    lanes: int
    """All lanes of a step (B)."""
    own: range
    """Those that are computed here."""
    shards: int = 1
    """The shards for which one process draws."""

    def list_shards(self) -> list[range]:
        """The lanes of each shard; see `model.sharding.split_lanes`."""
        bounds = [self.lanes * shard // self.shards for shard in range(self.shards + 1)]
        return [range(start, stop) for start, stop in pairwise(bounds)]


def draw_lane_mask(layer: keras.layers.Dropout, layout: LaneLayout, width: tf.Tensor) -> tf.Tensor:
    """Which units `layer` keeps of the layout's own lanes in a step, bool (own lanes, T, D).

    T is 1 where a lane has one mask for all its tokens. The layer's seed moves on as in a step of
    all lanes.

    Args:
        width: tokens of the window (T).
    """
    units = layer.input.shape[-1]
    tokens = width if layer.noise_shape is None else 1
    own, masks = layout.own, []
    for shard in layout.list_shards():
        if shard.stop <= own.start or own.stop <= shard.start:
            layer.seed_generator.next()
            continue
        ones = tf.ones((len(shard), tokens, units))
        kept = keras.random.dropout(ones, layer.rate, seed=layer.seed_generator) > 0
        start = max(own.start - shard.start, 0)
        masks.append(kept[start : own.stop - shard.start])
    return tf.concat(masks, axis=0)


def apply_lane_mask(layer: keras.layers.Dropout, x: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """What `layer` gives for x (B, T, D) with a mask of `draw_lane_mask`, to the bit."""
    x = tf.cast(x, layer.compute_dtype)
    return tf.where(kept, x * (1.0 / (1.0 - layer.rate)), tf.zeros_like(x))


def list_dropout(layers: Sequence[keras.layers.Layer]) -> list[keras.layers.Dropout]:
    """The dropout layers among `layers`."""
    return [layer for layer in layers if isinstance(layer, keras.layers.Dropout)]
