"""The states of rows outside an engine, so that rows join and leave a batch one by one.

Shapes: B rows, H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RowStates:
    """What the layers of a network keep of each row.

    >>> one = RowStates(((np.zeros((1, 2)), np.ones((1, 2))),))
    >>> two = RowStates.join([one, one])
    >>> len(two), len(two.select([1]))
    (2, 1)
    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    """h and c of each layer, (B, H)."""

    def __len__(self) -> int:
        return len(self.layers[0][0])

    def select(self, rows: Sequence[int]) -> RowStates:
        """A copy of these rows, in this order; a row may be dropped or repeated."""
        chosen = list(rows)
        return RowStates(tuple((h[chosen], c[chosen]) for h, c in self.layers))

    @staticmethod
    def join(parts: Sequence[RowStates]) -> RowStates:
        """The rows of several, one after another."""
        layers = zip(*(part.layers for part in parts), strict=True)
        return RowStates(
            tuple(
                (np.concatenate([h for h, _ in layer]), np.concatenate([c for _, c in layer]))
                for layer in layers
            )
        )
