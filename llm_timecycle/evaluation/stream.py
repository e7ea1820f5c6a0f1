"""Scoring a stream of tokens: loss, perplexity, accuracy.

Every token after the first is predicted exactly once, the LSTM state carried. Sums and counts are
added over the windows and divided once at the end, so a short last window weighs what it should.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.model.loss import LossNetwork
from llm_timecycle.model.network import make_zero_states
from llm_timecycle.model.sharding import join_lanes, split_lanes

WARM_UP_TOKENS = 64
SCORING_WINDOW = 256

Scorer = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, list[tf.Tensor]], tuple[tf.Tensor, ...]]


@dataclass(frozen=True)
class Sums:
    """What a scored stream adds up to."""

    loss_nats: float
    """The negative log-likelihood of all predicted tokens."""
    correct: int
    """Predicted tokens that were the likeliest."""
    predicted: int
    """Predicted tokens: one less than the stream holds."""

    @property
    def loss_nats_per_token(self) -> float:
        """The mean loss."""
        return self.loss_nats / self.predicted

    @property
    def perplexity(self) -> float:
        """exp of the mean loss (infinite where that is beyond a float)."""
        return compute_perplexity(self.loss_nats_per_token)

    @property
    def accuracy(self) -> float:
        """The share of tokens predicted right."""
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


def make_scorer(network: keras.Model, shards: int = 1) -> Scorer:
    """A compiled (tokens, targets, weights (B, T), states) -> (loss sum, correct, *states).

    `weights` is 1 where a prediction counts and 0 where it does not.

    Args:
        shards: into how many the lanes are cut; they compute side by side, one on each core.
    """
    loss_network = LossNetwork(network)

    places = tf.TensorSpec((None, None), tf.int32)
    weights = tf.TensorSpec((None, None), tf.float32)
    states = [tf.TensorSpec(state.shape, tf.float32) for state in network.inputs[1:]]

    @tf.function(input_signature=(places, places, weights, states))  # type: ignore[untyped-decorator]
    def score_window(
        tokens: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, states: list[tf.Tensor]
    ) -> tuple[tf.Tensor, ...]:
        shares = split_lanes([tokens, targets, *states], shards)
        scores = [loss_network.score(x, y, before) for x, y, *before in shares]
        losses, is_right, *states = join_lanes([[*score[:2], *score[2]] for score in scores])
        return tf.reduce_sum(losses * weights), tf.reduce_sum(is_right * weights), *states

    scorer: Scorer = score_window
    return scorer


def score_stream(
    scorer: Scorer,
    settings: ModelSettings,
    ids: np.ndarray,
    *,
    lanes: int = 1,
    window: int = SCORING_WINDOW,
    show_progress: bool = False,
    after_window: Callable[[], None] = lambda: None,
) -> Sums:
    """Score a whole stream of ids (N,), N >= 2.

    One lane carries the state through the stream from end to end: the exact figure. Several lanes
    cut the predictions into as many pieces that are scored side by side, much faster; each but the
    first begins with the state after the `WARM_UP_TOKENS` tokens before it, so the figure differs
    from the exact one by what the model remembers from further back.

    Args:
        window: tokens of each lane scored at once; it changes speed and memory, not the sums.
        after_window: called after each window; it may raise to end the work.
    """
    predictions = len(ids) - 1
    lanes = min(lanes, predictions)
    # Lanes differ in length by at most one prediction; the shorter ones end on one that counts 0.
    starts = np.arange(lanes + 1) * predictions // lanes
    length = int(np.max(np.diff(starts)))
    first, ends = starts[:-1, None], starts[1:, None]
    states = _warm_up(scorer, settings, ids, first)
    loss_nats, correct = 0.0, 0
    with tqdm(
        total=predictions, unit="tok", unit_scale=True, disable=not show_progress, leave=False
    ) as bar:
        for offset in range(0, length, window):
            places = first + np.arange(offset, min(offset + window, length))
            counts = places < ends
            places = np.minimum(places, predictions - 1)
            tokens, targets = _read(ids, places), _read(ids, places + 1)
            loss, right, *states = scorer(
                tokens, targets, tf.constant(counts, tf.float32), list(states)
            )
            loss_nats += float(loss)
            correct += int(right)
            bar.update(int(counts.sum()))
            after_window()
    return Sums(loss_nats, correct, predictions)


def _warm_up(
    scorer: Scorer, settings: ModelSettings, ids: np.ndarray, first: np.ndarray
) -> list[tf.Tensor]:
    """The state that each lane begins with; that of the first lane is zero."""
    lanes = len(first)
    states = make_zero_states(settings, lanes)
    width = min(WARM_UP_TOKENS, int(first[1, 0])) if lanes > 1 else 0
    if width == 0:
        return states
    places = np.maximum(first + np.arange(-width, 0), 0)
    tokens = _read(ids, places)
    _, _, *states = scorer(tokens, tokens, tf.zeros(tokens.shape), list(states))
    is_later = tf.constant((np.arange(lanes) > 0)[:, None], tf.float32)
    return [state * is_later for state in states]


def _read(ids: np.ndarray, places: np.ndarray) -> tf.Tensor:
    return tf.constant(ids[places].astype(np.int32))
