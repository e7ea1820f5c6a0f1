"""What generation asks of an engine: logits for the next token, from a state that is carried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from llm_timecycle.generation.sampling.pipeline import SamplingPlan


class Engine(Protocol):
    """A language model that reads tokens one after another, for several texts (rows) at once.

    The state after the last token of each row is kept between calls, so no token is read twice.
    B rows, T tokens, V kinds of tokens.
    """

    def reset(self) -> None:
        """Forget everything: the next call begins new texts, as many as it has rows."""

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; the logits (B, V) for the token after the last."""

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; the logits (B, T, V) after each, which memory must hold."""

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Read one more id of each row (B,); the logits (B, V) for the token after it."""

    def select_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; a row may be left out, or named several times."""


class Block(NamedTuple):
    """Tokens that were chosen one after another, N for each of B rows."""

    ids: np.ndarray
    """(N, B)."""
    log_probabilities: np.ndarray | None
    """What the model itself said of each, in nats (N, B); None where it was not asked for."""


@runtime_checkable
class BlockEngine(Engine, Protocol):
    """An engine that chooses tokens by itself, many at a time."""

    def can_decode(self, plan: SamplingPlan) -> bool:
        """Whether `decode_block` knows how to choose by this plan."""

    def decode_block(
        self,
        uniforms: np.ndarray,
        plan: SamplingPlan,
        counts: Sequence[np.ndarray] | None = None,
        *,
        with_log_probabilities: bool = False,
    ) -> Block:
        """Choose a token from the logits that there are, read it, and so on, N times.

        The next call goes on after the last of them; a row whose text ended before is best left out
        by `select_rows`.

        Args:
            uniforms: numbers from [0, 1), (N, B).
            plan: what choosing goes by; `can_decode` must know it.
            counts: how often each token has appeared in each row so far, integers (B, V); None
                where none is penalized.
            with_log_probabilities: whether to say what the model says of each token.

        Raises RunError where the model's logits are not finite.
        """
