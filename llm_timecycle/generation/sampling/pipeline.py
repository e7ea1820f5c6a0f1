"""From logits to the next token: pure functions over rows of logits, in one fixed order.

    1. repetition penalty    tokens that have appeared become less likely, by a factor
    2. presence penalty,     tokens that have appeared become less likely, by an amount
       frequency penalty     and by an amount per appearance
    3. DRY                   tokens that would continue a repeated passage become less likely
    4. bias                  added to the logits of single tokens
    5. banned tokens         never sampled; nor, with no_repeat_ngram, the end of a repeated n-gram
    6. top-k                 keep the k likeliest; temperature 0 takes the likeliest and ends here
    7. temperature           divides the logits (which does not change their order for top-k)
    8. top-p                 keep the smallest set of likeliest tokens with probability p
    9. min-p                 keep tokens at least min_p times as likely as the likeliest
   10. typical-p             keep the smallest set of most typical tokens with probability p
   11. XTC                   at random, remove the likeliest tokens but for the last of them
   12. draw                  one of the tokens that are left, by one uniform number

A step with a neutral setting is skipped and costs nothing, and the steps after top-k work on k
numbers. A removed token has weight 0. At least one token stays, and up to step 9 the likeliest is
among them. Of equal tokens, those with the lowest ids stay. All steps compute in float64, and the
result of a row does not depend on other rows. Step 3 and no_repeat_ngram are in `repeats`, 6 and 8
to 11 in `filters`, 12 in `gumbel`.

Shapes: B rows, V vocabulary, N tokens that are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import RunError
from llm_timecycle.generation.sampling.filters import (
    find_top_k,
    mask_min_p,
    mask_top_p,
    mask_typical_p,
    mask_xtc,
)
from llm_timecycle.generation.sampling.gumbel import (
    EXACT_AT_MOST,
    compute_gaps,
    draw_positions,
    draw_second,
)
from llm_timecycle.generation.sampling.history import TextHistory
from llm_timecycle.generation.sampling.repeats import (
    ban_repeated_ngrams,
    find_dry_penalties,
    find_longest_match,
)


@dataclass(frozen=True)
class SamplingPlan:
    """How to sample: the settings, with tokens as ids; `token_ids.make_plan` makes it."""

    settings: GenerationSettings
    """All of `generation` that is about the draw."""
    banned: tuple[int, ...] = ()
    """Ids that are never sampled; at least one of V must be left."""
    bias: tuple[tuple[int, float], ...] = ()
    """Ids, each with the amount added to its logit."""
    breakers: frozenset[int] = frozenset()
    """Ids of the tokens that end a passage, for DRY."""
    ends: tuple[int, ...] = ()
    """Ids that end a line or a text: XTC removes nothing where it would remove one of them."""

    @property
    def counts_tokens(self) -> bool:
        """Whether a penalty needs to know how often each token has appeared."""
        settings = self.settings
        return (
            settings.repetition_penalty != 1.0
            or settings.presence_penalty != 0.0
            or settings.frequency_penalty != 0.0
        )

    @property
    def longest_match(self) -> int:
        """What a `TextHistory` must count for DRY or no_repeat_ngram; 0 if there is neither."""
        return find_longest_match(self.settings)


def sample_tokens(
    logits: np.ndarray,
    uniforms: np.ndarray,
    plan: SamplingPlan,
    counts: Sequence[np.ndarray] | None = None,
    history: TextHistory | None = None,
) -> np.ndarray:
    """The next token of each row, by all the steps above: ids (B,).

    Args:
        logits: the model's logits, (B, V).
        uniforms: one number from [0, 1) per row, (B,); unused at temperature 0.
        plan: how to sample.
        counts: how often each token has appeared in each row, prompt included, integers (B, V);
            None if no penalty applies.
        history: the text of each row, prompt included; None if the plan has no `longest_match`.

    Raises:
        RunError: a logit is infinite or not a number.

    >>> logits = np.array([[0.0, 3.0, 2.0]])
    >>> plan = SamplingPlan(GenerationSettings(temperature=1.0, top_k=2))
    >>> {int(sample_tokens(logits, np.array([u]), plan)[0]) for u in np.arange(8) / 8}
    {1, 2}
    """
    check_finite(logits)
    settings, V = plan.settings, logits.shape[1]
    adjusted = adjust_logits(logits, plan, counts, history)
    if settings.temperature == 0.0:
        likeliest: np.ndarray = np.argmax(adjusted, axis=1)
        return likeliest
    if settings.top_k is not None and settings.top_k < V:
        ids = find_top_k(adjusted, settings.top_k)
        rows = np.arange(len(ids))
        positions = _draw(adjusted[rows[:, np.newaxis], ids], uniforms, plan, ids)
        drawn: np.ndarray = ids[rows, positions]
        return drawn
    at_once = len(logits) if V <= EXACT_AT_MOST else 1  # one row at a time fits the cache
    each = [
        _draw(adjusted[row : row + at_once], uniforms[row : row + at_once], plan)
        for row in range(0, len(logits), at_once)
    ]
    return np.concatenate(each)


def check_finite(logits: np.ndarray) -> None:
    """Raise RunError if a logit is infinite or not a number."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(logits.sum()):  # cheaper than checking each
            return
    bad = logits[~np.isfinite(logits)]
    if not bad.size:
        return
    raise RunError(
        f"the model's logits are not finite: {bad.size:,} of {logits.size:,} are infinite or "
        f"not a number. Its weights are damaged, or its training diverged: train again with a "
        f"lower training.learning_rate"
    )


def adjust_logits(
    logits: np.ndarray,
    plan: SamplingPlan,
    counts: Sequence[np.ndarray] | None = None,
    history: TextHistory | None = None,
) -> np.ndarray:
    """Steps 1 to 5: new logits (B, V), with -inf for banned tokens.

        l'_i = penalized(l_i) - presence [count_i > 0] - frequency * count_i - dry_i + bias_i

    They are float64 if anything is added or multiplied, else of the type they had.

    Args:
        logits: (B, V).
        plan: the penalties, bias and banned tokens.
        counts: how often each token has appeared, (B, V); None if no penalty applies.
        history: the text of each row; None if the plan has no `longest_match`.

    >>> settings = GenerationSettings(presence_penalty=1.0, frequency_penalty=0.5)
    >>> plan = SamplingPlan(settings, banned=(3,), bias=((0, 2.0),))
    >>> adjust_logits(np.array([[1.0, 1.0, 1.0, 1.0]]), plan, np.array([[0, 1, 3, 0]])).tolist()
    [[3.0, -0.5, -1.5, -inf]]
    """
    is_counted = counts is not None and plan.counts_tokens
    settings = plan.settings
    is_added = is_counted or plan.bias or settings.dry_multiplier > 0.0
    adjusted = logits.astype(np.float64 if is_added else logits.dtype)
    if counts is not None and is_counted:
        for row, appearances in zip(adjusted, counts, strict=True):
            seen = np.flatnonzero(appearances)
            appeared = penalize_repetition(row[seen], settings.repetition_penalty)
            appeared -= settings.presence_penalty + settings.frequency_penalty * appearances[seen]
            row[seen] = appeared
    if history is not None and settings.dry_multiplier > 0.0:
        texts, tokens, amounts = find_dry_penalties(history, settings, plan.breakers)
        adjusted[texts, tokens] -= amounts
    for token, added in plan.bias:
        adjusted[:, token] += added
    for token in plan.banned:
        adjusted[:, token] = -np.inf
    if history is not None and settings.no_repeat_ngram > 0:
        ban_repeated_ngrams(adjusted, history, settings.no_repeat_ngram)
    return adjusted


def penalize_repetition(logits: np.ndarray, penalty: float) -> np.ndarray:
    """The repetition penalty: above 1 makes tokens that have appeared less likely.

        l' = l / penalty  where l > 0,    l * penalty  where l <= 0

    Args:
        logits: those of the tokens that have appeared, any shape.
        penalty: above 0; 1 changes nothing.

    Source: Keskar et al. 2019, "CTRL", section 4.1, which only divides; negative logits are
    multiplied, as is usual today, because dividing them would make their tokens likelier. (The
    presence and frequency penalties, l - presence - frequency * count, are those of OpenAI's API.)

    >>> penalize_repetition(np.array([3.0, -3.0]), 2.0)
    array([ 1.5, -6. ])
    """
    penalized: np.ndarray = np.where(logits > 0, logits / penalty, logits * penalty)
    return penalized


def _draw(
    logits: np.ndarray,
    uniforms: np.ndarray,
    plan: SamplingPlan,
    ids: np.ndarray | None = None,
) -> np.ndarray:
    """Steps 7 to 12 on rows (B, N): the position of the token drawn from each, (B,).

    Args:
        ids: the ids of the tokens, (B, N); None for the whole vocabulary.
    """
    settings = plan.settings
    if not has_filters(settings):
        return draw_positions(logits, uniforms, ids, settings.temperature)
    gaps = compute_gaps(logits, settings.temperature)
    weights = np.exp(gaps)
    if settings.top_p < 1.0:
        weights *= mask_top_p(gaps, weights, settings.top_p)
    if settings.min_p > 0.0:
        weights *= mask_min_p(weights, settings.min_p)
    if settings.typical_p < 1.0:
        weights *= mask_typical_p(gaps, weights, settings.typical_p)
    if settings.xtc_probability > 0.0:
        weights *= _mask_xtc(weights, uniforms, plan, ids)
    if ids is None and len(gaps) == 1:  # few tokens of the vocabulary are left
        kept = np.flatnonzero(weights)
        position: np.ndarray = kept[draw_positions(gaps[:, kept], uniforms, kept[np.newaxis])]
        return position
    return draw_positions(np.where(weights > 0.0, gaps, -np.inf), uniforms, ids)


def has_filters(settings: GenerationSettings) -> bool:
    """Whether any of steps 8 to 11 does something."""
    return (
        settings.top_p < 1.0
        or settings.min_p > 0.0
        or settings.typical_p < 1.0
        or settings.xtc_probability > 0.0
    )


def _mask_xtc(
    weights: np.ndarray, uniforms: np.ndarray, plan: SamplingPlan, ids: np.ndarray | None
) -> np.ndarray:
    """Step 11: what XTC keeps, bool (B, N); everything in the rows where its turn has not come."""
    settings = plan.settings
    kept = mask_xtc(weights, settings.xtc_threshold)
    is_end = np.isin(np.arange(weights.shape[1])[np.newaxis] if ids is None else ids, plan.ends)
    is_idle = draw_second(uniforms) >= settings.xtc_probability
    is_idle |= (is_end & ~kept).any(axis=1)
    masked: np.ndarray = kept | is_idle[:, np.newaxis]
    return masked


def compute_logprobs(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The model's log-probability of one token per row, log softmax(logits)[ids], in nats (B,).

    Args:
        logits: the model's logits, unchanged, (B, V).
        ids: (B,).

    >>> compute_logprobs(np.log(np.array([[0.25, 0.75]])), np.array([1])).round(4).tolist()
    [-0.2877]
    """
    rows = logits.astype(np.float64)
    rows -= rows.max(axis=-1, keepdims=True)
    logprobs: np.ndarray = rows[np.arange(len(ids)), ids] - np.log(np.exp(rows).sum(axis=-1))
    return logprobs


def rank_tokens(logits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n likeliest tokens of the model, the likeliest first: ids (B, n), log-probabilities.

    The log-probabilities are those of `compute_logprobs`, in nats. Of equal tokens, the one with
    the lowest id comes first.

    Args:
        logits: the model's logits, unchanged, (B, V).
        n: from 1 to V.

    >>> ids, logprobs = rank_tokens(np.log(np.array([[0.25, 0.125, 0.5, 0.125]])), 3)
    >>> ids.tolist(), np.exp(logprobs).round(4).tolist()
    ([[2, 0, 1]], [[0.5, 0.25, 0.125]])
    """
    ids = find_top_k(logits, n)
    rows = np.arange(len(ids))[:, np.newaxis]
    ids = ids[rows, np.argsort(-logits[rows, ids], axis=1, kind="stable")]
    gaps = compute_gaps(logits, 1.0)
    logprobs: np.ndarray = gaps[rows, ids] - np.log(np.exp(gaps).sum(axis=1, keepdims=True))
    return ids, logprobs


def make_generators(seed: int | None, samples: Iterable[int]) -> list[np.random.Generator]:
    """A random generator for each sample; it does not depend on which others there are.

    Args:
        seed: the seed of all of them; None takes a new one from the system.
        samples: the number of each sample.

    >>> [generator.integers(10) for generator in make_generators(1, [3, 4])] == [
    ...     generator.integers(10) for generator in make_generators(1, range(5))[3:]
    ... ]
    True
    """
    return [
        np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(sample,))))
        for sample in samples
    ]
