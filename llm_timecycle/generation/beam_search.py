"""Beam search: the likeliest texts that a search of bounded width finds.

Longer texts are less likely, so the score of a text Y after a prompt X is normalized by length:

    score(Y) = log P(Y | X) / lp(Y),    lp(Y) = ((5 + |Y|) / (5 + 1)) ** alpha

where |Y| counts its tokens, the one that ends it included, and alpha is the length penalty.

Source: Wu et al. 2016, "Google's Neural Machine Translation System", section 7, equation 14
(without the coverage penalty, which has no meaning without attention).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.sampling.filters import find_top_k
from llm_timecycle.generation.sampling.history import TextHistory
from llm_timecycle.generation.sampling.pipeline import SamplingPlan, check_finite
from llm_timecycle.generation.sampling.repeats import ban_repeated_ngrams


@dataclass(frozen=True)
class Hypothesis:
    """A text in the search."""

    ids: tuple[int, ...] = ()
    """Its tokens."""
    logprob: float = 0.0
    """Its log-probability with `bias` added, in nats: what the search maximizes."""
    token_logprobs: tuple[float, ...] = ()
    """The model's log-probability of each token, without bias, in nats."""

    def score(self, length_penalty: float) -> float:
        """The log-probability, normalized by length."""
        return self.logprob / compute_length_penalty(len(self.ids), length_penalty)


def compute_length_penalty(tokens: int, alpha: float) -> float:
    """lp(Y) of a text of |Y| = `tokens`.

    >>> compute_length_penalty(1, 0.6), compute_length_penalty(19, 1.0)
    (1.0, 4.0)
    """
    return float(((5 + tokens) / 6) ** alpha)


def search_beams(
    engine: Engine,
    logits: np.ndarray,
    plan: SamplingPlan,
    is_complete: Callable[[Sequence[int]], bool],
    after_token: Callable[[], object] = lambda: None,
    history: TextHistory | None = None,
) -> list[Hypothesis]:
    """The best texts after a prompt, best first; at least one and at most `beams`.

    Each step extends each of the best `beams` unfinished texts by every token and keeps the best of
    them all. The search ends at `length` tokens, or when no unfinished text can become better than
    the `beams` best complete ones. Of equally likely texts, the one found first wins.

    Args:
        engine: has read the prompt, in one row.
        logits: the logits after the prompt, (1, V).
        plan: beams, length and length_penalty; bias is added to log-probabilities, and banned
            tokens and those of no_repeat_ngram are excluded. Nothing else in it applies.
        is_complete: whether a text (its ids) ends with its last token, before `length`.
        after_token: called after each step.
        history: the prompt, which grows to the texts; None without no_repeat_ngram.

    Raises RunError if the model's logits are not finite.
    """
    settings = plan.settings
    alpha = settings.length_penalty
    live, complete = [Hypothesis()], list[Hypothesis]()

    def rank(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
        return sorted(hypotheses, key=lambda text: -text.score(alpha))[: settings.beams]

    for tokens in range(1, settings.length + 1):
        extended = _extend(live, logits, plan, history)
        after_token()
        parents, live = [], []
        for parent, hypothesis in extended:
            if is_complete(hypothesis.ids):
                complete.append(hypothesis)
            elif len(live) < settings.beams:
                parents.append(parent)
                live.append(hypothesis)
        complete = rank(complete)
        if tokens == settings.length or not live or _is_settled(live[0], complete, plan):
            break
        engine.select_rows(parents)
        last_ids = np.array([hypothesis.ids[-1] for hypothesis in live])
        if history is not None:
            history.select_rows(parents)
            history.push(last_ids)
        logits = engine.step(last_ids)
    return rank(complete + live) if tokens == settings.length else complete


def _extend(
    live: list[Hypothesis],
    logits: np.ndarray,
    plan: SamplingPlan,
    history: TextHistory | None,
) -> list[tuple[int, Hypothesis]]:
    """The best texts that are one token longer, each with the row of its parent, best first.

    There are 2 * beams of them: even if the best one of every row is complete, enough are left.
    """
    check_finite(logits)
    logprobs = logits.astype(np.float64)
    logprobs -= logprobs.max(axis=1, keepdims=True)
    logprobs -= np.log(np.exp(logprobs).sum(axis=1, keepdims=True))
    biased = logprobs.copy() if plan.bias or plan.banned or history is not None else logprobs
    for token, added in plan.bias:
        biased[:, token] += added
    biased[:, list(plan.banned)] = -np.inf
    if history is not None and plan.settings.no_repeat_ngram > 0:
        ban_repeated_ngrams(biased, history, plan.settings.no_repeat_ngram)
    totals = biased + np.array([[hypothesis.logprob] for hypothesis in live])
    flat = totals.ravel()
    (best,) = find_top_k(flat[np.newaxis], min(2 * plan.settings.beams, flat.size))
    best = best[np.argsort(-flat[best], kind="stable")]
    rows, ids = np.divmod(best[flat[best] > -np.inf], logits.shape[1])
    return [
        (
            row,
            Hypothesis(
                (*live[row].ids, token),
                float(totals[row, token]),
                (*live[row].token_logprobs, float(logprobs[row, token])),
            ),
        )
        for row, token in zip(rows.tolist(), ids.tolist(), strict=True)
    ]


def _is_settled(likeliest: Hypothesis, complete: list[Hypothesis], plan: SamplingPlan) -> bool:
    """Whether no unfinished text can still become one of the best.

    A log-probability only falls with each token (unless a bias raises it), and the length
    normalization is strongest at full length.
    """
    settings = plan.settings
    if len(complete) < settings.beams or any(added > 0 for _, added in plan.bias):
        return False
    largest_penalty = compute_length_penalty(settings.length, settings.length_penalty)
    return likeliest.logprob / largest_penalty <= complete[-1].score(settings.length_penalty)
