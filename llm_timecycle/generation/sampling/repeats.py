"""Filters against loops: DRY, which makes a repeated passage less likely, and no_repeat_ngram.

Both see the whole text, prompt included, through `history`. `reference.repeats` has their twins.

Shapes: B texts, V vocabulary, R tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.sampling.history import TextHistory

DRY_LONGEST_MATCH = 50
"""Tokens of a passage that DRY counts at most, as its source does: the power stays finite."""


class Penalties(NamedTuple):
    """What to subtract from single logits; each token of a text occurs once."""

    texts: np.ndarray
    """The text of each, (R,)."""
    tokens: np.ndarray
    """The token, (R,)."""
    amounts: np.ndarray
    """What its logit loses, above 0, (R,)."""


def find_longest_match(settings: GenerationSettings) -> int:
    """The longest match that a `TextHistory` must count for these settings; 0 if they need none.

    >>> find_longest_match(GenerationSettings(no_repeat_ngram=4))
    3
    """
    needs = {
        DRY_LONGEST_MATCH: settings.dry_multiplier > 0.0,
        max(settings.no_repeat_ngram - 1, 1): settings.no_repeat_ngram > 0,
    }
    return max((length for length, is_needed in needs.items() if is_needed), default=0)


def find_dry_penalties(
    history: TextHistory, settings: GenerationSettings, breakers: frozenset[int] = frozenset()
) -> Penalties:
    """DRY ("Don't repeat yourself"): what each token that would continue a passage is penalized by.

        l'_t = l_t - multiplier * base ** (m_t - allowed)   where m_t >= allowed

    with m_t the longest match (see `history`) that t followed, at most 50; no match contains a
    breaker, and no breaker is penalized.

    Args:
        history: the texts.
        settings: dry_multiplier, dry_base, dry_allowed_length.
        breakers: the ids of tokens that end a passage.

    Source: Weidmann (p-e-w) 2024, pull request 5677 of text-generation-webui.
    """
    allowed = settings.dry_allowed_length
    texts, followers, matches = history.find_repeats(allowed)
    lengths = np.minimum(matches, np.minimum(history.unbroken[texts], DRY_LONGEST_MATCH))
    order = np.lexsort((lengths, followers, texts))
    texts, followers, lengths = texts[order], followers[order], lengths[order]
    is_longest = np.ones(len(texts), np.bool_)  # the last of those with the same text and token
    is_longest[:-1] = (texts[1:] != texts[:-1]) | (followers[1:] != followers[:-1])
    kept = np.flatnonzero(is_longest & (lengths >= allowed))
    kept = kept[[token not in breakers for token in followers[kept].tolist()]]
    excess = (lengths[kept] - allowed).astype(np.float64)
    amounts = settings.dry_multiplier * settings.dry_base**excess
    return Penalties(texts[kept], followers[kept], amounts)


def ban_repeated_ngrams(logits: np.ndarray, history: TextHistory, n: int) -> None:
    """No repeated n-gram: -inf, in place, for each token that would complete one a second time.

        ban t  where  x_{N-n+2} .. x_N t  occurs in  x_1 .. x_N

    A text of which this would ban every token that is left keeps them all.

    Args:
        logits: (B, V).
        history: the texts, which counts matches of n - 1 tokens or more.
        n: tokens of an n-gram, 1 or more.

    Source: Paulus, Xiong, Socher 2017, "A Deep Reinforced Model for Abstractive Summarization",
    section 2.5, and `no_repeat_ngram_size` of fairseq.
    """
    texts, followers, _ = history.find_repeats(n - 1)
    kept = logits[texts, followers]
    logits[texts, followers] = -np.inf
    touched = np.unique(texts)
    emptied = touched[logits[touched].max(axis=1, initial=-np.inf) == -np.inf]
    restored = np.isin(texts, emptied)
    logits[texts[restored], followers[restored]] = kept[restored]
