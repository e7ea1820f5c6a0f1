"""`sampling.pipeline` in TensorFlow: the same steps in the same order, for all rows at once.

Sorting a whole vocabulary is slow in TensorFlow, so top-p and typical-p are supported only after a
top-k that leaves few tokens; DRY and no_repeat_ngram, which look at the whole text, are not:
`can_sample` decides, and `pipeline` samples the rest. Numbers are float64, as in `pipeline`.

Shapes: B rows, V vocabulary, N tokens that are left.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from llm_timecycle.generation.sampling.gumbel import GOLDEN, LAST_SHIFT, MIX, NO_ID
from llm_timecycle.generation.sampling.pipeline import SamplingPlan, has_filters

SORTED_AT_MOST = 1024  # tokens


def can_sample(plan: SamplingPlan, vocab_size: int) -> bool:
    """Whether `sample_tokens` supports every step of the plan, for a vocabulary of this size."""
    settings = plan.settings
    left = min(settings.top_k or vocab_size, vocab_size)
    sorts = settings.temperature > 0 and (settings.top_p < 1.0 or settings.typical_p < 1.0)
    if settings.beams > 1 or plan.longest_match > 0:
        return False
    return left <= SORTED_AT_MOST or not sorts


def list_compile_key(plan: SamplingPlan) -> tuple[object, ...]:
    """Everything in a plan that `sample_tokens` depends on; equal keys, equal functions."""
    settings = plan.settings
    return (
        plan.banned,
        plan.bias,
        plan.ends,
        settings.temperature,
        settings.top_k,
        settings.top_p,
        settings.min_p,
        settings.typical_p,
        settings.xtc_probability,
        settings.xtc_threshold,
        settings.repetition_penalty,
        settings.presence_penalty,
        settings.frequency_penalty,
    )


def sample_tokens(
    logits: tf.Tensor, uniforms: tf.Tensor, plan: SamplingPlan, counts: tf.Tensor
) -> tf.Tensor:
    """The next token of each row, int64 (B,); see `pipeline.sample_tokens`.

    Args:
        logits: finite, (B, V).
        uniforms: one number from [0, 1) per row, float64 (B,).
        plan: how to sample; `can_sample` must support it.
        counts: how often each token has appeared in each row, float64 (B, V); unused if the plan
            has no penalty.
    """
    V = logits.shape[1]
    settings = plan.settings
    adjusted = _adjust_logits(tf.cast(logits, tf.float64), plan, counts, V)
    if settings.temperature == 0.0:
        return tf.argmax(adjusted, axis=1)
    ids = None
    if settings.top_k is not None and settings.top_k < V:
        # top_k keeps the first of equal logits; sorting restores the order of ids.
        ids = tf.sort(tf.math.top_k(adjusted, settings.top_k, sorted=False).indices, axis=1)
        adjusted = tf.gather(adjusted, ids, batch_dims=1)
    gaps = adjusted - tf.reduce_max(adjusted, axis=1, keepdims=True)
    if settings.temperature != 1.0:
        gaps /= settings.temperature
    if ids is None:
        every = tf.range(V)[tf.newaxis]
        return _draw_positions(_weigh(gaps, uniforms, plan, every), uniforms, every)
    positions = _draw_positions(_weigh(gaps, uniforms, plan, ids), uniforms, ids)
    return tf.cast(tf.gather(ids, positions, batch_dims=1), tf.int64)


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


def _weigh(gaps: tf.Tensor, uniforms: tf.Tensor, plan: SamplingPlan, ids: tf.Tensor) -> tf.Tensor:
    """Logarithms of the weights (B, N), -inf for removed tokens."""
    settings = plan.settings
    if not has_filters(settings):
        return gaps
    weights = tf.exp(gaps)
    if settings.top_p < 1.0:
        weights *= _mask_fewest(-gaps, weights, settings.top_p)
    if settings.min_p > 0.0:
        most = tf.reduce_max(weights, axis=1, keepdims=True)
        weights *= tf.cast(weights >= settings.min_p * most, tf.float64)
    if settings.typical_p < 1.0:
        mean_gap = tf.reduce_sum(tf.where(weights > 0.0, gaps * weights, 0.0), 1, keepdims=True)
        mean_gap /= tf.reduce_sum(weights, axis=1, keepdims=True)
        weights *= _mask_fewest(tf.abs(mean_gap - gaps), weights, settings.typical_p)
    if settings.xtc_probability > 0.0:
        weights *= _mask_xtc(weights, uniforms, plan, ids)
    return tf.where(weights > 0.0, gaps, -np.inf)


def _mask_xtc(
    weights: tf.Tensor, uniforms: tf.Tensor, plan: SamplingPlan, ids: tf.Tensor
) -> tf.Tensor:
    """`pipeline._mask_xtc` as numbers: 1.0 for a token that is kept, else 0.0; (B, N)."""
    settings, N = plan.settings, tf.shape(weights)[1]
    is_likely = weights >= settings.xtc_threshold * tf.reduce_sum(weights, axis=1, keepdims=True)
    least = tf.argmin(tf.where(is_likely, weights, np.inf), axis=1)
    is_removed = is_likely & ~tf.one_hot(least, N, on_value=True, off_value=False)
    is_end = tf.zeros_like(ids, tf.bool)
    for end in plan.ends:
        is_end |= tf.cast(ids, tf.int64) == end
    second = _hash_ids(tf.constant([[NO_ID]], tf.int64), uniforms)
    is_idle = (second >= settings.xtc_probability) | tf.reduce_any(
        is_end & is_removed, axis=1, keepdims=True
    )
    return tf.cast(is_idle | ~is_removed, tf.float64)


def _mask_fewest(keys: tf.Tensor, weights: tf.Tensor, p: float) -> tf.Tensor:
    """`filters._mask_fewest` as numbers: 1.0 for a token that is kept, else 0.0; (B, N)."""
    order = tf.argsort(keys, axis=1, stable=True)
    sums = tf.cumsum(tf.gather(weights, order, batch_dims=1), axis=1)
    wanted = p * tf.reduce_sum(weights, axis=1, keepdims=True)
    before = tf.reduce_sum(tf.cast(sums < wanted, tf.int32), axis=1, keepdims=True)
    ranks = tf.argsort(order, axis=1)
    return tf.cast(ranks <= before, tf.float64)


def _draw_positions(log_weights: tf.Tensor, uniforms: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """`gumbel.draw_positions`, int64 (B,)."""
    p = _hash_ids(ids, uniforms)
    return tf.argmax(log_weights - tf.math.log(-tf.math.log1p(-p)), axis=1)


def _hash_ids(ids: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """`gumbel.hash_ids` as p in (0, 1), float64 (B, N)."""
    bits = tf.cast(uniforms * 2.0**53, tf.int64)[:, tf.newaxis]
    spread = tf.cast(tf.bitwise.right_shift(bits, 31) | 1, tf.uint32) * int(GOLDEN)
    hashed = tf.cast(ids, tf.uint32) * spread + tf.cast(bits & 0xFFFFFFFF, tf.uint32)
    for shift, multiplier in MIX:
        hashed ^= tf.bitwise.right_shift(hashed, shift)
        hashed *= multiplier
    hashed ^= tf.bitwise.right_shift(hashed, LAST_SHIFT)
    return (tf.cast(hashed, tf.float64) + 0.5) * 2.0**-32
