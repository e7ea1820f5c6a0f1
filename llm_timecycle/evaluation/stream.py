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
from llm_timecycle.model.loss import LossNetwork
from llm_timecycle.model.network import make_zero_states
from llm_timecycle.model.sharding import join_lanes, split_lanes
from llm_timecycle.progress_bars import tqdm

WARM_UP_TOKENS = 64
"""Of a validation during training, which compares a model with itself."""
LONG_WARM_UP_TOKENS = 512
"""Of a figure to report: within 0.0005 nats of the exact one."""
MAX_LANES, LEAST_LANE_TOKENS = 128, 2048  # a lane is worth its warm-up
SCORING_WINDOW = 256


@dataclass(frozen=True)
class Scorer:
    """A model that scores windows of tokens; made by `make_scorer`."""

    score: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, list[tf.Tensor]], Sequence[tf.Tensor]]
    """(tokens, targets, weights (B, T), states) -> (loss sum, correct, *states); a weight is 1
    where a prediction counts and 0 where it does not."""
    advance: Callable[[tf.Tensor, list[tf.Tensor]], Sequence[tf.Tensor]]
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


def compute_perplexity(loss_nats: float) -> float:
    """exp(loss), infinite where that is beyond a float.

    >>> round(compute_perplexity(math.log(50)), 6)
    50.0
    """
    try:
        return math.exp(loss_nats)
    except OverflowError:
        return math.inf


def make_scorer(network: keras.Model, shards: int = 1, *, ahead: bool = False) -> Scorer:
    """The scorer of a model.

    Args:
        network: the model to score with.
        shards: the number of shards that the lanes are split into, computed in parallel, one on
            each core.
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

    @tf.function(input_signature=(ids, ids, weights, states), autograph=False)  # type: ignore[untyped-decorator]
    def score_window(
        tokens: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, states: list[tf.Tensor]
    ) -> tuple[tf.Tensor, ...]:
        parts = split_lanes([tokens, targets, *states], shards)
        scores = [score_shard(x, y, before) for x, y, *before in parts]
        losses, is_correct, *states = join_lanes([[*score[:2], *score[2]] for score in scores])
        return tf.reduce_sum(losses * weights), tf.reduce_sum(is_correct * weights), *states

    @tf.function(input_signature=(ids, states), autograph=False)  # type: ignore[untyped-decorator]
    def advance(tokens: tf.Tensor, states: list[tf.Tensor]) -> list[tf.Tensor]:
        parts = split_lanes([tokens, *states], shards)
        return join_lanes([advance_shard(x, before) for x, *before in parts])

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
    *,
    lanes: int = 1,
    warm_up: int = WARM_UP_TOKENS,
    window: int = SCORING_WINDOW,
    show_progress: bool = False,
    after_window: Callable[[], None] = lambda: None,
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
        lanes: pieces to score in parallel.
        warm_up: tokens read before each lane but the first.
        window: maximum tokens of each lane per call; affects speed and memory, not the sums.
        show_progress: whether to draw a progress bar.
        after_window: called after each window; it may raise to end the work.
    """
    predictions = len(ids) - 1
    lanes = min(lanes, predictions)
    # Lanes differ in length by at most one prediction; a shorter one ends on one of weight 0.
    starts = np.arange(lanes + 1) * predictions // lanes
    length = int(np.max(np.diff(starts)))
    width = choose_width(length, window)
    first, ends = starts[:-1, None], starts[1:, None]
    states = _warm_up(scorer, settings, ids, first, warm_up)
    loss_nats, correct = 0.0, 0
    with tqdm(
        total=predictions, unit="tok", unit_scale=True, disable=not show_progress, leave=False
    ) as bar:
        for offset in range(0, length, width):
            positions = first + np.arange(offset, offset + width)
            is_counted = positions < ends
            positions = np.minimum(positions, predictions - 1)
            tokens, targets = _read(ids, positions), _read(ids, positions + 1)
            window_loss, window_correct, *states = scorer.score(
                tokens, targets, tf.constant(is_counted, tf.float32), list(states)
            )
            loss_nats += float(window_loss)
            correct += int(window_correct)
            bar.update(int(is_counted.sum()))
            after_window()
    return Sums(loss_nats, correct, predictions)


def _warm_up(
    scorer: Scorer, settings: ModelSettings, ids: np.ndarray, first: np.ndarray, warm_up: int
) -> list[tf.Tensor]:
    """The state that each lane starts from; zero for the first lane."""
    lanes = len(first)
    states = make_zero_states(settings, lanes)
    width = min(warm_up, int(first[1, 0])) if lanes > 1 else 0
    if width == 0:
        return states
    positions = np.maximum(first + np.arange(-width, 0), 0)
    is_later = tf.constant((np.arange(lanes) > 0)[:, None], tf.float32)
    return [state * is_later for state in scorer.advance(_read(ids, positions), states)]


def _read(ids: np.ndarray, positions: np.ndarray) -> tf.Tensor:
    return tf.constant(ids[positions].astype(np.int32))
