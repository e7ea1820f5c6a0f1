"""Scoring a given text: the log-probability of each of its tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.sampling.pipeline import check_finite, compute_logprobs
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

READ_AT_ONCE = 64  # tokens, each of which has V logits


@dataclass(frozen=True)
class Score:
    """How likely a text is, token by token."""

    tokens: tuple[str, ...]
    """The tokens, as shown to people."""
    ids: tuple[int, ...]
    """Their ids."""
    log_probabilities: tuple[float, ...]
    """log p(token | all tokens before it) of each, in nats."""

    @property
    def nats(self) -> float:
        """The negative log-likelihood of the whole text."""
        return -math.fsum(self.log_probabilities)

    @property
    def perplexity(self) -> float:
        """exp(nats / tokens); infinite if that exceeds a float.

        >>> round(Score(("a", "b"), (2, 3), (math.log(0.5), math.log(0.125))).perplexity, 6)
        4.0
        """
        try:
            return math.exp(self.nats / len(self.ids))
        except OverflowError:
            return math.inf


def score_text(engine: Engine, tokenizer: Tokenizer, text: str) -> Score:
    """The score of `text` as a new text, one that starts after an <eos>.

    The text is read a few tokens at a time with the state carried over, and every token is
    predicted once. Apart from the result, memory does not grow with the text.

    Raises:
        UsageError: the text has no token.
        DataError: the text is not valid Unicode.
        RunError: the model's logits are not finite.
    """
    ids = tokenizer.encode(text).astype(np.int64)
    if len(ids) == 0:
        raise UsageError("the text to score is empty; expected at least one token")
    engine.reset()
    read = np.concatenate([[tokenizer.eos_id], ids[:-1]])
    logprobs: list[float] = []
    for start in range(0, len(ids), READ_AT_ONCE):
        window = slice(start, start + READ_AT_ONCE)
        (logits,) = engine.read(read[np.newaxis, window])
        check_finite(logits)
        logprobs += compute_logprobs(logits, ids[window]).tolist()
    listed = tuple(ids.tolist())
    shown = {id: tokenizer.token(id) for id in set(listed)}
    return Score(tuple(shown[id] for id in listed), listed, tuple(logprobs))
