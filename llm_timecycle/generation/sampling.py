"""From logits to the next token: pure functions over logits (B, V), in one fixed order.

    1. repetition penalty    tokens that have appeared become less likely
    2. banned tokens         never chosen
    3. temperature           0 takes the likeliest token, and ends here
    4. top-k                 the k likeliest stay
    5. top-p                 the fewest that together reach probability p stay
    6. min-p                 those at least min_p times as likely as the likeliest stay
    7. draw                  one of those that stayed, by one uniform number

A token that is out has the logit -inf. The likeliest token always stays. Of tokens that are equally
likely, the one with the lowest id counts as the likelier. Everything is computed in float64, and
each row by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm_timecycle.config.tree import GenerationSettings
from llm_timecycle.errors import RunError, UsageError


def choose_tokens(
    logits: np.ndarray,
    uniforms: np.ndarray,
    settings: GenerationSettings,
    *,
    banned: Sequence[int] = (),
    seen: np.ndarray | None = None,
) -> np.ndarray:
    """The next token of each row, by all the steps above.

    Args:
        logits: what the model says, (B, V).
        uniforms: a number from [0, 1) for each row (B,); unused at temperature 0.
        settings: temperature, top_k, top_p, min_p, repetition_penalty.
        banned: ids that are never chosen.
        seen: which tokens have appeared in each row, bool (B, V); None where none is penalized.

    Returns:
        ids (B,).

    Raises:
        RunError: a logit is infinite or not a number.

    >>> logits = np.array([[0.0, 3.0, 2.0]])
    >>> settings = GenerationSettings(temperature=1.0, top_k=2)
    >>> [int(choose_tokens(logits, np.array([u]), settings)[0]) for u in (0.0, 0.7, 0.8)]
    [1, 1, 2]
    """
    check_finite(logits)
    logits = logits.astype(np.float64)
    if seen is not None:
        logits = penalize_repetition(logits, seen, settings.repetition_penalty)
    logits = ban_tokens(logits, banned)
    if settings.temperature == 0.0:
        return choose_greedily(logits)
    logits = apply_temperature(logits, settings.temperature)
    logits = keep_top_k(logits, settings.top_k)
    logits = keep_top_p(logits, settings.top_p)
    logits = keep_min_p(logits, settings.min_p)
    return draw_tokens(logits, uniforms)


def check_finite(logits: np.ndarray) -> None:
    """Raise RunError where a logit is infinite or not a number."""
    if not np.isfinite(logits).all():
        bad = logits[~np.isfinite(logits)]
        raise RunError(
            f"the model's logits are not finite: {bad.size:,} of {logits.size:,} are infinite or "
            f"not a number. Its weights are damaged or its training went wrong: train it again, "
            f"with a lower training.learning_rate"
        )


def penalize_repetition(logits: np.ndarray, seen: np.ndarray, penalty: float) -> np.ndarray:
    """Make tokens that have appeared less likely (above 1) or more (below 1); 1 changes nothing.

        l' = l / penalty  where l > 0,    l * penalty  where l <= 0

    Args:
        logits: (B, V). seen: bool (B, V).

    Source: Keskar et al. 2019, "CTRL", section 4.1, which divides only; negative logits are
    multiplied, as is usual since, because dividing those would make their tokens likelier.

    >>> penalize_repetition(np.array([[3.0, -3.0, 3.0]]), np.array([[True, True, False]]), 2.0)
    array([[ 1.5, -6. ,  3. ]])
    """
    penalized = np.where(logits > 0, logits / penalty, logits * penalty)
    result: np.ndarray = np.where(seen, penalized, logits)
    return result


def ban_tokens(logits: np.ndarray, banned: Sequence[int]) -> np.ndarray:
    """The logits with those of `banned` ids at -inf; UsageError where no token would be left."""
    if len(set(banned)) >= logits.shape[-1]:
        raise UsageError(f"all {logits.shape[-1]} tokens are banned; leave at least one")
    allowed: np.ndarray = logits.copy()
    allowed[:, list(banned)] = -np.inf
    return allowed


def choose_greedily(logits: np.ndarray) -> np.ndarray:
    """The likeliest token of each row (B,); of equally likely ones the lowest id."""
    ids: np.ndarray = np.argmax(logits, axis=-1)
    return ids


def apply_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """(l - max l) / temperature, for a temperature above 0.

    Taking the maximum off changes no probability, and keeps every temperature from overflowing it.
    """
    with np.errstate(over="ignore"):  # far below the likeliest, -inf is the right answer
        scaled: np.ndarray = (logits - np.max(logits, axis=-1, keepdims=True)) / temperature
    return scaled


def keep_top_k(logits: np.ndarray, k: int | None) -> np.ndarray:
    """The k likeliest tokens of each row; k of None, or of V or more, keeps all.

    >>> keep_top_k(np.array([[1.0, 2.0, 1.0, 0.0]]), 2)
    array([[  1.,   2., -inf, -inf]])
    """
    V = logits.shape[-1]
    if k is None or k >= V:
        return logits
    threshold = np.partition(logits, V - k, axis=-1)[:, V - k, np.newaxis]
    return _keep_largest(logits, threshold, np.full_like(threshold, k))


def keep_top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """The fewest likeliest tokens of each row whose probabilities add up to p or more.

    A p of 1 keeps all. Source: Holtzman et al. 2020, "The Curious Case of Neural Text
    Degeneration", section 3.1.

    >>> keep_top_p(np.log(np.array([[0.125, 0.5, 0.25, 0.125]])), 0.6).round(3)
    array([[  -inf, -0.693, -1.386,   -inf]])
    """
    if p == 1.0:
        return logits
    nuclei = [_find_nucleus(row, p) for row in logits]
    thresholds, counts = np.array(nuclei).T[:, :, np.newaxis]
    return _keep_largest(logits, thresholds, counts)


def keep_min_p(logits: np.ndarray, min_p: float) -> np.ndarray:
    """The tokens of each row at least `min_p` times as likely as its likeliest; 0 keeps all.

        l >= max l + log(min_p)

    Source: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", section 3.

    >>> keep_min_p(np.log(np.array([[0.5, 0.3, 0.2]])), 0.5).round(3)
    array([[-0.693, -1.204,   -inf]])
    """
    if min_p == 0.0:
        return logits
    least = np.max(logits, axis=-1, keepdims=True) + np.log(min_p)
    return np.where(logits >= least, logits, -np.inf)


def draw_tokens(logits: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """One token of each row, with the probabilities softmax(logits), by the inverse of their sum.

    The token i with  p_0 + ... + p_(i-1) <= u < p_0 + ... + p_i; one that is out is never drawn.

    Args:
        logits: (B, V). uniforms: u in [0, 1) for each row (B,).

    Returns:
        ids (B,).
    """
    sums = np.cumsum(np.exp(logits - np.max(logits, axis=-1, keepdims=True)), axis=-1)
    ids: np.ndarray = np.sum(sums <= uniforms[:, np.newaxis] * sums[:, -1:], axis=-1)
    return ids


def make_generators(seed: int | None, samples: int) -> list[np.random.Generator]:
    """A source of uniform numbers for each sample; number i is the same however many there are.

    Args:
        seed: the start of them all; None draws a new one from the system.
    """
    return [
        np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(sample,))))
        for sample in range(samples)
    ]


def _keep_largest(logits: np.ndarray, threshold: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The `counts` (B, 1) largest of each row, the smallest of them being `threshold` (B, 1).

    Where several equal the threshold and not all may stay, those with the lowest ids do.
    """
    above = logits > threshold
    tied = logits == threshold
    room = counts - np.sum(above, axis=-1, keepdims=True)
    kept = above | (tied & (np.cumsum(tied, axis=-1) <= room))
    return np.where(kept, logits, -np.inf)


def _find_nucleus(row: np.ndarray, p: float) -> tuple[float, int]:
    """The least logit and the number of the fewest likeliest tokens that reach probability p.

    Only tokens that could be among them are sorted: all those less likely than (1 - p) / V add up
    to less than 1 - p, so the others reach p without them. (Half of that leaves room for rounding.)
    """
    weights = np.exp(row - np.max(row))
    total = np.sum(weights)
    candidates = np.sort(row[weights >= 0.5 * (1.0 - p) / row.size * total])[::-1]
    sums = np.cumsum(np.exp(candidates - candidates[0]))
    last = min(int(np.searchsorted(sums, p * total)), candidates.size - 1)
    return float(candidates[last]), last + 1
