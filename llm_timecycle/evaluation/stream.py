"""Scoring a stream of tokens: loss, perplexity, accuracy.

Every token after the first is predicted exactly once, with the LSTM state carried along. Sums and
counts are added over the windows and divided once at the end, so a short last window counts by its
tokens.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.evaluation.figures import compute_perplexity
from llm_timecycle.model.loss import LossNetwork
from llm_timecycle.model.network import make_zero_states
from llm_timecycle.model.sharding import join_lanes, split_lanes
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.text.batches import ONE_DOCUMENT, mark_kept

WARM_UP_TOKENS = 64
"""Of a validation during training, which compares a model with itself."""
LONG_WARM_UP_TOKENS = 512
"""Of a figure to report: within 0.0005 nats of the exact one."""
MAX_LANES, LEAST_LANE_TOKENS = 128, 2048  # a lane is worth its warm-up
SCORING_WINDOW, LEAST_SCORING_WINDOW = 256, 4
SCORING_NUMBERS = 1 << 26
"""In the largest array of a window: the gates of all its tokens, or their logits."""


@dataclass(frozen=True)
class Scorer:
    """A model that scores windows of tokens; made by `make_scorer`.

    Where documents begin in the text, both take one more argument, `keep` (B, T): 0 where the state
    is reset before a token is read, 1 elsewhere.
    """

    score: Callable[..., Sequence[tf.Tensor]]
    """(tokens, targets, weights (B, T), states) -> (loss sum, correct, *states); a weight is 1
    where a prediction counts and 0 where it does not."""
    advance: Callable[..., Sequence[tf.Tensor]]
    """(tokens (B, T), states) -> the states after them, without computing a loss."""


@dataclass(frozen=True)
class Sums:
    """The sums over a scored stream."""

    loss_nats: float
    """The negative log-likelihood of all predicted tokens."""
    correct: int
    """Predicted tokens that were the most likely one."""
    predicted: int
    """Predicted tokens: one fewer than the stream holds."""

    @property
    def loss_nats_per_token(self) -> float:
        """The mean loss."""
        return self.loss_nats / self.predicted

    @property
    def perplexity(self) -> float:
        """exp of the mean loss; infinite where that is beyond a float."""
        return compute_perplexity(self.loss_nats_per_token)

    @property
    def accuracy(self) -> float:
        """The share of tokens predicted correctly."""
        return self.correct / self.predicted


def make_scorer(
    network: keras.Model, shards: int = 1, *, has_documents: bool = False, ahead: bool = False
) -> Scorer:
    """The scorer of a model.

    Args:
        network: the model to score with.
        shards: the number of shards that the lanes are split into, computed in parallel, one on
            each core.
        has_documents: whether documents begin in the text, so that the state is reset there.
        ahead: whether to trace it now, in a thread, for a caller who lets TensorFlow compile or
            compute something else first.
    """
    loss_network = LossNetwork(network)
    # Functions of their own, so that they are traced once for all shards.
    score_shard = tf.function(loss_network.score, autograph=False)
    advance_shard = tf.function(loss_network.advance, autograph=False)
    ids = tf.TensorSpec((None, None), tf.int32)
    weights = tf.TensorSpec((None, None), tf.float32)
    states = [tf.TensorSpec(state.shape, tf.float32) for state in network.inputs[1:]]

    keep = (weights,) if has_documents else ()

    @tf.function(input_signature=(ids, ids, weights, states, *keep), autograph=False)  # type: ignore[untyped-decorator]
    def score_window(
        tokens: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor,
        states: list[tf.Tensor],
        keep: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, ...]:
        parts = split_lanes([tokens, targets, keep, *states], shards)
        scores = [score_shard(x, y, before, kept) for x, y, kept, *before in parts]
        losses, is_correct, *states = join_lanes([[*score[:2], *score[2]] for score in scores])
        return tf.reduce_sum(losses * weights), tf.reduce_sum(is_correct * weights), *states

    @tf.function(input_signature=(ids, states, *keep), autograph=False)  # type: ignore[untyped-decorator]
    def advance(
        tokens: tf.Tensor, states: list[tf.Tensor], keep: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        parts = split_lanes([tokens, keep, *states], shards)
        return join_lanes([advance_shard(x, before, kept) for x, kept, *before in parts])

    def trace() -> None:
        advance.get_concrete_function()
        score_window.get_concrete_function()

    if ahead:
        threading.Thread(target=trace, name="scorer").start()
    return Scorer(score_window, advance)


def choose_lanes(predictions: int) -> int:
    """The number of lanes to score a stream in: few enough that warm-up costs little.

    >>> choose_lanes(1_000), choose_lanes(10_000), choose_lanes(1_000_000)
    (1, 4, 128)
    """
    return max(1, min(MAX_LANES, predictions // LEAST_LANE_TOKENS))


def choose_window(lanes: int, vocab_size: int, hidden_units: int) -> int:
    """The tokens of each lane in a window, whose arrays take some hundreds of megabytes.

    >>> choose_window(128, 67, 512), choose_window(106, 33_278, 640)
    (256, 19)
    """
    fitting = SCORING_NUMBERS // (lanes * max(vocab_size, 4 * hidden_units))
    return min(max(fitting, LEAST_SCORING_WINDOW), SCORING_WINDOW)


def choose_width(length: int, window: int) -> int:
    """The tokens of a window, at most `window`, so that all windows of `length` have one width.

    TensorFlow compiles the scorer for each width.

    >>> choose_width(100, 64)
    50
    """
    return math.ceil(length / math.ceil(length / window))


def score_stream(
    scorer: Scorer,
    settings: ModelSettings,
    ids: np.ndarray,
    document_starts: np.ndarray = ONE_DOCUMENT,
    *,
    lanes: int = 1,
    warm_up: int = WARM_UP_TOKENS,
    window: int = SCORING_WINDOW,
    show_progress: bool = False,
    after_window: Callable[[], None] = lambda: None,
    own_lanes: Callable[[int], range] = range,
) -> Sums:
    """Score a whole stream of ids (N,), N >= 2.

    A single lane carries the state through the whole stream and gives the exact figure. With
    several lanes the stream is cut into pieces that are scored in parallel, which is much faster.
    Each lane but the first then starts from the state after the `warm_up` tokens before it, so the
    result differs from the exact one by what the model remembers from further back.

    Args:
        scorer: made by `make_scorer`.
        settings: of the scorer's model.
        ids: the stream.
        document_starts: positions at which documents begin, as of `text.batches.mark_kept`; where
            there are any, the scorer was made for them. Each begins with a fresh state, so its loss
            does not depend on what was before it.
        lanes: pieces to score in parallel.
        warm_up: tokens read before each lane but the first.
        window: maximum tokens of each lane per call; affects speed and memory, not the sums.
        show_progress: whether to draw a progress bar.
        after_window: called after each window; it may raise to end the work.
        own_lanes: which of so many lanes to score, where others score the rest; the sums are then
            those of these lanes, and `predicted` is that of all.
    """
    predictions = len(ids) - 1
    lanes = min(lanes, predictions)
    # Lanes differ in length by at most one prediction; a shorter one ends on one of weight 0.
    starts = np.arange(lanes + 1) * predictions // lanes
    length = int(np.max(np.diff(starts)))
    width = choose_width(length, window)
    own = own_lanes(lanes)
    if len(own) == 0:
        return Sums(0.0, 0, predictions)
    first, ends = starts[:-1, None], starts[1:, None]
    states = _warm_up(scorer, settings, ids, document_starts, first, warm_up, window, own)
    first, ends = first[own.start : own.stop], ends[own.start : own.stop]
    loss_nats, correct = 0.0, 0
    with tqdm(
        total=predictions, unit="tok", unit_scale=True, disable=not show_progress, leave=False
    ) as bar:
        for offset in range(0, length, width):
            positions = first + np.arange(offset, offset + width)
            is_counted = positions < ends
            positions = np.minimum(positions, predictions - 1)
            tokens, targets = _read(ids, positions), _read(ids, positions + 1)
            weights = tf.constant(is_counted, tf.float32)
            keep = _read_keep(document_starts, first + offset, width)
            window_loss, window_correct, *states = scorer.score(
                tokens, targets, weights, list(states), *keep
            )
            loss_nats += float(window_loss)
            correct += int(window_correct)
            bar.update(int(is_counted.sum()))
            after_window()
    return Sums(loss_nats, correct, predictions)


def _warm_up(
    scorer: Scorer,
    settings: ModelSettings,
    ids: np.ndarray,
    document_starts: np.ndarray,
    first: np.ndarray,
    warm_up: int,
    window: int,
    own: range,
) -> list[tf.Tensor]:
    """The state that each of the own lanes starts from; zero for the first of all lanes."""
    states = make_zero_states(settings, len(own))
    if len(first) == 1:
        return states
    # Only a state that can be reset may be given something else to read before the first token.
    furthest = int(first[-1, 0] if len(document_starts) else first[1, 0])
    width = min(warm_up, furthest)
    if width == 0:
        return states
    first = first[own.start : own.stop]
    window = max(window, WARM_UP_TOKENS)  # it has no logits
    is_later = tf.constant((np.asarray(own) > 0)[:, None], tf.float32)
    for start in range(-width, 0, window):
        positions = first + np.arange(start, min(start + window, 0))
        keep = _read_keep(document_starts, positions[:, :1], positions.shape[1])
        for array in keep:
            array[positions <= 0] = 0.0
        tokens = _read(ids, np.maximum(positions, 0))
        states = list(scorer.advance(tokens, states, *keep))
    return [state * is_later for state in states]


def _read_keep(document_starts: np.ndarray, first: np.ndarray, width: int) -> list[np.ndarray]:
    """The scorer's last argument for a window that begins at `first` (B, 1); none for one text."""
    return [mark_kept(document_starts, first[:, 0], width)] if len(document_starts) else []


def _read(ids: np.ndarray, positions: np.ndarray) -> tf.Tensor:
    return tf.constant(ids[positions].astype(np.int32))
