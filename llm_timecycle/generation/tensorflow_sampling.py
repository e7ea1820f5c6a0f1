"""`generation.sampling` in TensorFlow: the same steps in the same order, for all rows at once.

Sorting a whole vocabulary is slow here, so top-p and typical-p are known only after a top-k that
leaves few tokens; `can_choose` says so. Numbers are float64, as there.

Shapes: B rows, V vocabulary, N tokens that are left.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from llm_timecycle.config.tree import GenerationSettings
from llm_timecycle.generation.sampling import SamplingPlan

SORTED_AT_MOST = 1024  # tokens


def can_choose(plan: SamplingPlan, vocab_size: int) -> bool:
    """Whether `choose_tokens` knows every step of the plan, for a vocabulary of this size."""
    settings = plan.settings
    left = min(settings.top_k or vocab_size, vocab_size)
    sorts = settings.temperature > 0 and (settings.top_p < 1.0 or settings.typical_p < 1.0)
    return settings.beams == 1 and (left <= SORTED_AT_MOST or not sorts)


def list_what_matters(plan: SamplingPlan) -> tuple[object, ...]:
    """Everything of a plan that `choose_tokens` goes by: where it is equal, so is the function."""
    settings = plan.settings
    return (
        plan.banned,
        plan.bias,
        settings.temperature,
        settings.top_k,
        settings.top_p,
        settings.min_p,
        settings.typical_p,
        settings.repetition_penalty,
        settings.presence_penalty,
        settings.frequency_penalty,
    )


def choose_tokens(
    logits: tf.Tensor, uniforms: tf.Tensor, plan: SamplingPlan, counts: tf.Tensor
) -> tf.Tensor:
    """The next token of each row (B,), int64; see `sampling.choose_tokens`.

    Args:
        logits: (B, V), finite. uniforms: (B,), float64.
        counts: how often each token has appeared in each row, (B, V), float64; of no use where the
            plan penalizes none.
    """
    V = logits.shape[1]
    settings = plan.settings
    adjusted = _adjust_logits(tf.cast(logits, tf.float64), plan, counts, V)
    if settings.temperature == 0.0:
        return tf.argmax(adjusted, axis=1)
    ids = None
    if settings.top_k is not None and settings.top_k < V:
        # Of equal ones the first are kept; those that are kept are put in order again.
        ids = tf.sort(tf.math.top_k(adjusted, settings.top_k, sorted=False).indices, axis=1)
        adjusted = tf.gather(adjusted, ids, batch_dims=1)
    gaps = adjusted - tf.reduce_max(adjusted, axis=1, keepdims=True)
    if settings.temperature != 1.0:
        gaps /= settings.temperature
    places = _draw(_weigh(gaps, settings), uniforms)
    return places if ids is None else tf.cast(tf.gather(ids, places, batch_dims=1), tf.int64)


def _adjust_logits(logits: tf.Tensor, plan: SamplingPlan, counts: tf.Tensor, V: int) -> tf.Tensor:
    settings = plan.settings
    if plan.counts_tokens:
        penalty = settings.repetition_penalty
        appeared = tf.where(logits > 0, logits / penalty, logits * penalty)
        appeared -= settings.presence_penalty + settings.frequency_penalty * counts
        logits = tf.where(counts > 0, appeared, logits)
    if plan.bias or plan.banned:
        added = np.zeros(V)
        for token, value in plan.bias:
            added[token] += value
        added[list(plan.banned)] = -np.inf
        logits += added
    return logits


def _weigh(gaps: tf.Tensor, settings: GenerationSettings) -> tf.Tensor:
    """Probabilities but for a factor (B, N), 0 for tokens that are out."""
    weights = tf.exp(gaps)
    if settings.top_p < 1.0:
        weights *= _find_fewest(-gaps, weights, settings.top_p)
    if settings.min_p > 0.0:
        most = tf.reduce_max(weights, axis=1, keepdims=True)
        weights *= tf.cast(weights >= settings.min_p * most, tf.float64)
    if settings.typical_p < 1.0:
        mean_gap = tf.reduce_sum(tf.where(weights > 0.0, gaps * weights, 0.0), 1, keepdims=True)
        mean_gap /= tf.reduce_sum(weights, axis=1, keepdims=True)
        weights *= _find_fewest(tf.abs(mean_gap - gaps), weights, settings.typical_p)
    return weights


def _find_fewest(keys: tf.Tensor, weights: tf.Tensor, p: float) -> tf.Tensor:
    """1.0 for the fewest with the smallest keys that reach p of all weight, else 0.0; (B, N)."""
    order = tf.argsort(keys, axis=1, stable=True)
    sums = tf.cumsum(tf.gather(weights, order, batch_dims=1), axis=1)
    wanted = p * tf.reduce_sum(weights, axis=1, keepdims=True)
    before = tf.reduce_sum(tf.cast(sums < wanted, tf.int32), axis=1, keepdims=True)
    ranks = tf.argsort(order, axis=1)
    return tf.cast(ranks <= before, tf.float64)


def _draw(weights: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """A place of each row (B,), int64, as `sampling.draw_index`."""
    sums = tf.cumsum(weights, axis=1)
    wanted = uniforms[:, tf.newaxis] * sums[:, -1:]
    places = tf.reduce_sum(tf.cast(sums <= wanted, tf.int64), axis=1)
    # By rounding only, the sum falls short of what is wanted.
    last = tf.argmax(tf.where(weights > 0.0, tf.cumsum(tf.ones_like(weights), axis=1), 0.0), axis=1)
    return tf.minimum(places, last)
