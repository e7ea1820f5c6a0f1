"""What generation asks of an engine: logits for the next token, from a state that is carried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Engine(Protocol):
    """A language model that reads tokens one after another, for several texts (rows) at once.

    The state after the last token of each row is kept between calls, so no token is read twice.
    B rows, T tokens, V kinds of tokens.
    """

    def reset(self) -> None:
        """Forget everything: the next call begins new texts, as many as it has rows."""

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; the logits (B, V) for the token after the last."""

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Read one more id of each row (B,); the logits (B, V) for the token after it."""

    def select_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; a row may be left out, or named several times."""
