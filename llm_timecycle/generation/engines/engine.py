"""The interface of an engine: ids -> logits, with the state carried from call to call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from llm_timecycle.generation.sampling.pipeline import SamplingPlan


class Engine(Protocol):
    """A language model that reads tokens one after another, for several texts (rows) at once.

    The state after the last token of each row is kept between calls, so no token is read twice.

    Shapes: B rows, T tokens, V vocabulary.
    """

    def reset(self) -> None:
        """Forget the state: the next call starts new texts, one per row of its ids."""

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; returns the logits (B, V) for the token after the last."""

    def prefill_each(self, texts: Sequence[np.ndarray]) -> np.ndarray:
        """Start new texts of different lengths, one per row, each of a token or more.

        Returns the logits (B, V) for the token after the last of each.
        """

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; returns the logits after each (B, T, V), all in memory."""

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Read one more id per row (B,); returns the logits (B, V) for the token after it."""

    def select_rows(self, rows: Sequence[int]) -> None:
        """Continue with these rows, in this order; a row may be dropped or repeated."""

    def read_hidden(self) -> np.ndarray:
        """What went into the output layer last (B, H), or with a projection (B, E)."""


class Block(NamedTuple):
    """N consecutive tokens for each of B rows."""

    ids: np.ndarray
    """The tokens (N, B)."""
    logprobs: np.ndarray | None
    """The model's log-probability of each, in nats (N, B); None unless requested."""


@runtime_checkable
class BlockEngine(Engine, Protocol):
    """An engine that also samples, many tokens per call."""

    def can_decode(self, plan: SamplingPlan) -> bool:
        """Whether `decode_block` supports this plan."""

    def decode_block(
        self,
        uniforms: np.ndarray,
        plan: SamplingPlan,
        counts: Sequence[np.ndarray] | None = None,
        *,
        with_logprobs: bool = False,
    ) -> Block:
        """Sample a token from the current logits, read it, and repeat, N times in all.

        The next call continues after the last of them. `select_rows` should drop a row whose text
        has ended.

        Args:
            uniforms: numbers from [0, 1), (N, B).
            plan: how to sample; `can_decode` must support it.
            counts: how often each token has appeared in each row so far, integers (B, V); None if
                no penalty applies.
            with_logprobs: whether to return the log-probability of each token.

        Raises RunError if the model's logits are not finite.
        """


def group_by_length(texts: Sequence[np.ndarray]) -> list[list[int]]:
    """The positions of the texts of each length, in the order in which lengths first occur.

    >>> group_by_length([np.zeros(2), np.zeros(5), np.zeros(2)])
    [[0, 2], [1]]
    """
    groups: dict[int, list[int]] = {}
    for position, text in enumerate(texts):
        groups.setdefault(len(text), []).append(position)
    return list(groups.values())
