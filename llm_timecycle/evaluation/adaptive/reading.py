"""Reading a text in lanes, with what goes into the output layer after each token.

The cache must see what really was before a token. So each lane but the first begins to read
earlier: first the tokens that its LSTM state needs, then those that fill its cache.

Shapes: B lanes, T tokens of a block, H what goes into the output layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.evaluation.adaptive.neural_cache import NO_DOCUMENT
from llm_timecycle.evaluation.stream import LONG_WARM_UP_TOKENS, choose_width
from llm_timecycle.model.loss import LossNetwork, score_tokens
from llm_timecycle.model.network import make_zero_states
from llm_timecycle.model.sharding import join_lanes, split_lanes
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.text.batches import ONE_DOCUMENT, mark_kept, release_pages

MOST_LANES, LANE_WINDOWS = 64, 4  # a lane is worth what it reads before it begins
CACHE_BYTES = 1 << 28
BLOCK_TOKENS = 2048
"""Tokens of all lanes together in a block: their logits are in memory at once."""


@dataclass(frozen=True)
class Text:
    """A text to score: ids (N,), N >= 2, and where its documents begin, as of `mark_kept`."""

    ids: np.ndarray
    document_starts: np.ndarray = field(default_factory=lambda: ONE_DOCUMENT)

    @property
    def predictions(self) -> int:
        """Tokens that are predicted: all but the first."""
        return len(self.ids) - 1

    def cut(self, predictions: int) -> Text:
        """The beginning of it, at most `predictions` tokens after the first."""
        return Text(self.ids[: predictions + 1], self.document_starts)

    def number_documents(self, positions: np.ndarray) -> np.ndarray:
        """The number of the document that each position is in; `NO_DOCUMENT` before the text.

        The `<eos>` in front of a document belongs to it, since the state is reset before it.
        """
        numbers = np.searchsorted(self.document_starts, positions + 1, side="right")
        return np.where(positions < 0, NO_DOCUMENT, numbers)

    def read(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, targets (int32) and keep (float32) of consecutive positions, (B, T) each."""
        keep = mark_kept(self.document_starts, positions[:, 0], positions.shape[1])
        keep[positions <= 0] = 0.0
        inside = np.clip(positions, 0, self.predictions - 1)
        return self.ids[inside].astype(np.int32), self.ids[inside + 1].astype(np.int32), keep


@dataclass(frozen=True)
class Block:
    """What was read of every lane in one go."""

    hidden: np.ndarray
    """What goes into the output layer after each token, float32 (B, T, H)."""
    following: np.ndarray
    """The token that came after it (B, T)."""
    documents: np.ndarray
    """The document that the token is in (B, T)."""
    losses: np.ndarray | None = None
    """-log p of the token that came, in nats (B, T); None while lanes warm up."""
    is_counted: np.ndarray | None = None
    """Whether it belongs to this lane (B, T)."""


@dataclass(frozen=True)
class HiddenReader:
    """A network that shows what goes into its output layer; made by `make_hidden_reader`."""

    score: Callable[..., Sequence[tf.Tensor]]
    """(tokens, targets, keep (B, T), states) -> (losses (B, T), hidden (B, T, H), *states)."""
    advance: Callable[..., Sequence[tf.Tensor]]
    """(tokens, keep (B, T), states) -> (hidden (B, T, H), *states)."""


def make_hidden_reader(network: keras.Model, shards: int = 1) -> HiddenReader:
    """The reader of a network, its lanes computed in `shards` in parallel."""
    loss_network = LossNetwork(network)
    ids = tf.TensorSpec((None, None), tf.int32)
    keep = tf.TensorSpec((None, None), tf.float32)
    states = [tf.TensorSpec(state.shape, tf.float32) for state in network.inputs[1:]]

    def score_shard(
        tokens: tf.Tensor, targets: tf.Tensor, keep: tf.Tensor, *states: tf.Tensor
    ) -> list[tf.Tensor]:
        hidden, after = loss_network.compute_hidden(tokens, list(states), keep)
        flat = tf.reshape(hidden, (-1, hidden.shape[-1]))
        losses, _ = score_tokens(flat, tf.reshape(targets, [-1]), *loss_network.read_output())
        return [tf.reshape(losses, tf.shape(targets)), tf.cast(hidden, tf.float32), *after]

    @tf.function(input_signature=(ids, ids, keep, states), autograph=False)  # type: ignore[untyped-decorator]
    def score(
        tokens: tf.Tensor, targets: tf.Tensor, keep: tf.Tensor, states: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        parts = split_lanes([tokens, targets, keep, *states], shards)
        return join_lanes([score_shard(*part) for part in parts])

    @tf.function(input_signature=(ids, keep, states), autograph=False)  # type: ignore[untyped-decorator]
    def advance(tokens: tf.Tensor, keep: tf.Tensor, states: list[tf.Tensor]) -> list[tf.Tensor]:
        results = []
        for x, kept, *before in split_lanes([tokens, keep, *states], shards):
            hidden, after = loss_network.compute_hidden(x, before, kept)
            results.append([tf.cast(hidden, tf.float32), *after])
        return join_lanes(results)

    return HiddenReader(score, advance)


def choose_cache_lanes(predictions: int, window: int, hidden_units: int) -> int:
    """Lanes for a text that a cache of `window` tokens reads: each reads a window more.

    >>> choose_cache_lanes(5_000, 2000, 512), choose_cache_lanes(217_645, 2000, 512)
    (1, 21)
    """
    lane_bytes = 4 * 2 * window * hidden_units
    worth = predictions // (LANE_WINDOWS * (window + LONG_WARM_UP_TOKENS))
    return max(1, min(MOST_LANES, worth, CACHE_BYTES // lane_bytes))


def read_lanes(
    reader: HiddenReader,
    settings: ModelSettings,
    text: Text,
    *,
    lanes: int,
    memory: int,
    show_progress: bool = False,
) -> Iterator[Block]:
    """Read a text so that every token after the first is counted once.

    Args:
        reader: of the model that `settings` are of.
        text: the text.
        lanes: pieces that are read in parallel (B).
        memory: tokens before each lane but the first that are given out too, without losses; the
            `LONG_WARM_UP_TOKENS` before those are read for the state alone.
        show_progress: whether to draw a progress bar.
    """
    lanes = min(lanes, text.predictions)
    starts = np.arange(lanes + 1) * text.predictions // lanes
    length = int(np.max(np.diff(starts)))
    width = choose_width(length, max(BLOCK_TOKENS // lanes, 16))
    first, ends = starts[:-1, None], starts[1:, None]
    states = make_zero_states(settings, lanes)
    before = -(-(memory + LONG_WARM_UP_TOKENS) // width) * width if lanes > 1 else 0
    for offset in range(-before, 0, width):
        positions = first + np.arange(offset, offset + width)
        tokens, targets, keep = text.read(positions)
        hidden, *states = reader.advance(tokens, keep, list(states))
        if offset + width > -memory:
            yield Block(hidden.numpy(), targets, text.number_documents(positions))
    with tqdm(
        total=text.predictions, unit="tok", unit_scale=True, disable=not show_progress, leave=False
    ) as bar:
        for offset in range(0, length, width):
            positions = first + np.arange(offset, offset + width)
            tokens, targets, keep = text.read(positions)
            losses, hidden, *states = reader.score(tokens, targets, keep, list(states))
            is_counted = positions < ends
            documents = text.number_documents(positions)
            yield Block(hidden.numpy(), targets, documents, losses.numpy(), is_counted)
            bar.update(int(is_counted.sum()))
            release_pages(text.ids)
