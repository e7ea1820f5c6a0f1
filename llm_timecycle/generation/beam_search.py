"""Beam search: the likeliest texts that a bounded search finds, longer ones forgiven their length.

The score of a text Y after a prompt X is

    log P(Y | X) / lp(Y),    lp(Y) = ((5 + |Y|) / (5 + 1)) ** alpha

with |Y| its tokens, the one that ends it included, and alpha the length penalty.

Source: Wu et al. 2016, "Google's Neural Machine Translation System", section 7, equation 14
(without its coverage penalty, which has no meaning here).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.sampling.filters import find_top_k
from llm_timecycle.generation.sampling.pipeline import SamplingPlan, check_finite


@dataclass(frozen=True)
class Hypothesis:
    """A text in the search.

    `log_probability` decides; `token_log_probabilities` are what the model itself says of each
    token, without bias, in nats.
    """

    ids: tuple[int, ...] = ()
    log_probability: float = 0.0
    token_log_probabilities: tuple[float, ...] = ()

    def score(self, length_penalty: float) -> float:
        """The log-probability, made up for the length."""
        return self.log_probability / compute_length_penalty(len(self.ids), length_penalty)


def compute_length_penalty(tokens: int, alpha: float) -> float:
    """lp(Y) of a text of `tokens` (|Y|).

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
) -> list[Hypothesis]:
    """The best texts after a prompt, the best first; at least one and at most `beams`.

    At every step each of the best `beams` unfinished texts is made longer by every token, and the
    best of all those go on. It ends at `length` tokens, or when none that goes on can become better
    than the `beams` best complete ones. Of equally likely ones, the one found first is kept.

    Args:
        engine: has read the prompt in its one row.
        logits: after the prompt, (1, V).
        plan: beams, length, length_penalty; bias is added to log-probabilities, and banned tokens
            are left out. Nothing else of it is used.
        is_complete: whether a text (its ids) ends where it does, before `length`.
        after_token: called after each step.

    Raises RunError where the model's logits are not finite.
    """
    settings = plan.settings
    alpha = settings.length_penalty
    live, complete = [Hypothesis()], list[Hypothesis]()

    def rank(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
        return sorted(hypotheses, key=lambda found: -found.score(alpha))[: settings.beams]

    for tokens in range(1, settings.length + 1):
        extended = _extend(live, logits, plan)
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
        logits = engine.step(np.array([hypothesis.ids[-1] for hypothesis in live]))
    return rank(complete + live) if tokens == settings.length else complete


def _extend(
    live: list[Hypothesis], logits: np.ndarray, plan: SamplingPlan
) -> list[tuple[int, Hypothesis]]:
    """The best texts that are one token longer, each with the row it comes from, best first.

    Twice as many as there are beams: even if each row's best one ends there, enough go on.
    """
    check_finite(logits)
    said = logits.astype(np.float64)
    said -= said.max(axis=1, keepdims=True)
    said -= np.log(np.exp(said).sum(axis=1, keepdims=True))
    changed = said.copy() if plan.bias or plan.banned else said
    for token, added in plan.bias:
        changed[:, token] += added
    changed[:, list(plan.banned)] = -np.inf
    totals = changed + np.array([[hypothesis.log_probability] for hypothesis in live])
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
                (*live[row].token_log_probabilities, float(said[row, token])),
            ),
        )
        for row, token in zip(rows.tolist(), ids.tolist(), strict=True)
    ]


def _is_settled(likeliest: Hypothesis, complete: list[Hypothesis], plan: SamplingPlan) -> bool:
    """Whether no text that goes on can still become one of the best.

    A log-probability only falls with each token (unless a bias raises it), and no text is forgiven
    more than one of full length.
    """
    settings = plan.settings
    if len(complete) < settings.beams or any(added > 0 for _, added in plan.bias):
        return False
    most = compute_length_penalty(settings.length, settings.length_penalty)
    return likeliest.log_probability / most <= complete[-1].score(settings.length_penalty)
