"""From logits to the next token: pure functions over rows of logits, in one fixed order.

    1. repetition penalty    tokens that have appeared become less likely, by a factor
    2. presence penalty,     the same, by an amount for having appeared
       frequency penalty     and by an amount for each time
    3. bias                  added to the logits of single tokens
    4. banned tokens         never chosen
    5. top-k                 the k likeliest stay; temperature 0 takes the likeliest and ends here
    6. temperature           (top-k goes by rank only, which no temperature changes)
    7. top-p                 the fewest that together reach probability p stay
    8. min-p                 those at least min_p times as likely as the likeliest stay
    9. typical-p             the fewest of the least surprising surprise that reach p stay
   10. draw                  one of those that stayed, by one uniform number

A step whose setting is neutral is left out and costs nothing, and what follows top-k is done on
k numbers. A token that is out has weight 0. At least one stays, and up to step 8 the likeliest is
among them. Of tokens that are equal, those with the lowest ids stay. Everything is computed in
float64, and what a row gets depends on no other row. Steps 5, 7, 8 and 9 are in
`generation.sampling.filters`, step 10 in `generation.sampling.gumbel`.

Shapes: B rows, V vocabulary, N tokens that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import RunError
from llm_timecycle.generation.sampling.filters import (
    find_top_k,
    mask_min_p,
    mask_top_p,
    mask_typical_p,
)
from llm_timecycle.generation.sampling.gumbel import EXACT_AT_MOST, compute_gaps, draw_places


@dataclass(frozen=True)
class SamplingPlan:
    """Everything that choosing goes by, with tokens as ids; `generation.sampling.token_ids` makes it."""

    settings: GenerationSettings
    """temperature, top_k, top_p, min_p, typical_p and the three penalties."""
    banned: tuple[int, ...] = ()
    """Ids that are never chosen; at least one of V must be left."""
    bias: tuple[tuple[int, float], ...] = ()
    """Ids, and what is added to the logit of each."""

    @property
    def counts_tokens(self) -> bool:
        """Whether a penalty asks how often each token has appeared."""
        settings = self.settings
        return (
            settings.repetition_penalty != 1.0
            or settings.presence_penalty != 0.0
            or settings.frequency_penalty != 0.0
        )


def choose_tokens(
    logits: np.ndarray,
    uniforms: np.ndarray,
    plan: SamplingPlan,
    counts: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """The next token of each row, by all the steps above.

    Args:
        logits: what the model says, (B, V).
        uniforms: a number from [0, 1) for each row (B,); unused at temperature 0.
        plan: what to go by.
        counts: how often each token has appeared in each row, prompt included, integers (B, V);
            None where none is penalized.

    Returns:
        ids (B,).

    Raises:
        RunError: a logit is infinite or not a number.

    >>> logits = np.array([[0.0, 3.0, 2.0]])
    >>> plan = SamplingPlan(GenerationSettings(temperature=1.0, top_k=2))
    >>> {int(choose_tokens(logits, np.array([u]), plan)[0]) for u in np.arange(8) / 8}
    {1, 2}
    """
    check_finite(logits)
    settings, V = plan.settings, logits.shape[1]
    adjusted = adjust_logits(logits, plan, counts)
    if settings.temperature == 0.0:
        likeliest: np.ndarray = np.argmax(adjusted, axis=1)
        return likeliest
    if settings.top_k is not None and settings.top_k < V:
        ids = find_top_k(adjusted, settings.top_k)
        rows = np.arange(len(ids))
        places = _draw(adjusted[rows[:, np.newaxis], ids], uniforms, settings, ids)
        drawn: np.ndarray = ids[rows, places]
        return drawn
    at_once = len(logits) if V <= EXACT_AT_MOST else 1  # a row at a time stays in the cache
    each = [
        _draw(adjusted[row : row + at_once], uniforms[row : row + at_once], settings)
        for row in range(0, len(logits), at_once)
    ]
    return np.concatenate(each)


def check_finite(logits: np.ndarray) -> None:
    """Raise RunError where a logit is infinite or not a number."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(logits.sum()):  # cheaper than to look at each
            return
    bad = logits[~np.isfinite(logits)]
    if not bad.size:
        return
    raise RunError(
        f"the model's logits are not finite: {bad.size:,} of {logits.size:,} are infinite or "
        f"not a number. Its weights are damaged or its training went wrong: train it again, "
        f"with a lower training.learning_rate"
    )


def adjust_logits(
    logits: np.ndarray, plan: SamplingPlan, counts: Sequence[np.ndarray] | None = None
) -> np.ndarray:
    """Steps 1 to 4: new logits (B, V), those of banned tokens at -inf.

    They are float64 where anything is added or multiplied, else as they were.

    Args:
        logits: (B, V).
        counts: how often each token has appeared (B, V); None where none is penalized.

    >>> settings = GenerationSettings(presence_penalty=1.0, frequency_penalty=0.5)
    >>> plan = SamplingPlan(settings, banned=(3,), bias=((0, 2.0),))
    >>> adjust_logits(np.array([[1.0, 1.0, 1.0, 1.0]]), plan, np.array([[0, 1, 3, 0]])).tolist()
    [[3.0, -0.5, -1.5, -inf]]
    """
    is_counted = counts is not None and plan.counts_tokens
    adjusted = logits.astype(np.float64 if is_counted or plan.bias else logits.dtype)
    settings = plan.settings
    if counts is not None and is_counted:
        for row, appearances in zip(adjusted, counts, strict=True):
            seen = np.flatnonzero(appearances)
            appeared = penalize_repetition(row[seen], settings.repetition_penalty)
            appeared -= settings.presence_penalty + settings.frequency_penalty * appearances[seen]
            row[seen] = appeared
    for token, added in plan.bias:
        adjusted[:, token] += added
    for token in plan.banned:
        adjusted[:, token] = -np.inf
    return adjusted


def penalize_repetition(logits: np.ndarray, penalty: float) -> np.ndarray:
    """Make tokens that have appeared less likely (above 1) or more (below 1); 1 changes nothing.

        l' = l / penalty  where l > 0,    l * penalty  where l <= 0

    Args:
        logits: those of the tokens that have appeared, any shape.

    Source: Keskar et al. 2019, "CTRL", section 4.1, which divides only; negative logits are
    multiplied, as is usual since, because dividing those would make their tokens likelier. (The
    presence and frequency penalties, l - presence - frequency * count, are those of OpenAI's API.)

    >>> penalize_repetition(np.array([3.0, -3.0]), 2.0)
    array([ 1.5, -6. ])
    """
    penalized: np.ndarray = np.where(logits > 0, logits / penalty, logits * penalty)
    return penalized


def _draw(
    logits: np.ndarray,
    uniforms: np.ndarray,
    settings: GenerationSettings,
    ids: np.ndarray | None = None,
) -> np.ndarray:
    """Steps 6 to 10 on rows (B, N): the place of the token that is drawn from each (B,).

    Args:
        ids: which tokens they are (B, N); None for the whole vocabulary.
    """
    if settings.top_p == 1.0 and settings.min_p == 0.0 and settings.typical_p == 1.0:
        return draw_places(logits, uniforms, ids, settings.temperature)
    gaps = compute_gaps(logits, settings.temperature)
    weights = np.exp(gaps)
    if settings.top_p < 1.0:
        weights *= mask_top_p(gaps, weights, settings.top_p)
    if settings.min_p > 0.0:
        weights *= mask_min_p(weights, settings.min_p)
    if settings.typical_p < 1.0:
        weights *= mask_typical_p(gaps, weights, settings.typical_p)
    if ids is None and len(gaps) == 1:  # of a whole vocabulary few tokens are left
        kept = np.flatnonzero(weights)
        place: np.ndarray = kept[draw_places(gaps[:, kept], uniforms, kept[np.newaxis])]
        return place
    return draw_places(np.where(weights > 0.0, gaps, -np.inf), uniforms, ids)


def compute_log_probabilities(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """log softmax(logits)[ids]: what the model itself says of each chosen token, in nats (B,).

    Args:
        logits: (B, V), as they come from the model. ids: (B,).

    >>> compute_log_probabilities(np.log(np.array([[0.25, 0.75]])), np.array([1])).round(4).tolist()
    [-0.2877]
    """
    rows = logits.astype(np.float64)
    rows -= rows.max(axis=-1, keepdims=True)
    chosen = rows[np.arange(len(ids)), ids]
    log_probabilities: np.ndarray = chosen - np.log(np.exp(rows).sum(axis=-1))
    return log_probabilities


def make_generators(seed: int | None, samples: int, first: int = 0) -> list[np.random.Generator]:
    """A source of uniform numbers for each sample; number i is the same whichever are made.

    Args:
        seed: the start of them all; None draws a new one from the system.
        samples: how many. first: the number of the first of them.
    """
    return [
        np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(sample,))))
        for sample in range(first, first + samples)
    ]
