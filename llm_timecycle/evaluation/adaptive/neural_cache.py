"""The continuous neural cache over many lanes at once; `reference/neural_cache.py` is its twin.

Scoring a text needs only the probability of the token that came, so the cache never makes a
distribution over the vocabulary: it adds the weights of the pairs whose token is that one.

Shapes: B lanes, T tokens of a block, K pairs (the kept ones and the block's own), H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_timecycle.generation.engines.blocked_matmul import let_overflow

NO_DOCUMENT = -1
"""The document of a position before the text, which nothing remembers."""
BLOCK_SCORES = 2_000_000
"""Products h_t . h_i that are in memory at once."""


@dataclass(frozen=True)
class CacheReach:
    """What the cache looks at, and how sharply."""

    window: int
    """W: how many of the latest tokens it remembers."""
    theta: float
    """How sharply likeness is judged: pairs count by exp(theta h_t . h_i)."""


class NeuralCache:
    """The latest pairs of a hidden vector and the token that followed it, for every lane.

    Args:
        lanes: B.
        hidden_units: H.
        reaches: candidates to give probabilities for; the cache is as large as the largest window.
    """

    def __init__(self, lanes: int, hidden_units: int, reaches: Sequence[CacheReach]) -> None:
        self._reaches = tuple(reaches)
        self._window = max(reach.window for reach in reaches)
        # Twice the window, so that the kept pairs are moved to the front only now and then.
        size = 2 * self._window
        self._hidden = np.zeros((lanes, size, hidden_units), np.float32)
        self._following = np.zeros((lanes, size), np.int32)
        self._documents = np.full((lanes, size), NO_DOCUMENT, np.int64)
        self._end = 0

    def read(self, hidden: np.ndarray, following: np.ndarray, documents: np.ndarray) -> None:
        """Remember the pairs of a block.

        Args:
            hidden: what goes into the output layer after each token (B, T, H).
            following: the token after it (B, T).
            documents: the number of the document that the token is in (B, T), `NO_DOCUMENT` for
                a token to forget.
        """
        for start in range(0, hidden.shape[1], self._window):
            part = slice(start, start + self._window)
            self._append(hidden[:, part], following[:, part], documents[:, part])

    def score(
        self, hidden: np.ndarray, following: np.ndarray, documents: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Remember a block, and say how likely each of its tokens was by the pairs before it.

        Args: those of `read`.

        Returns:
            p_cache(following) by each of the candidates (C, B, T), float32; and where it remembers
            nothing of the document (B, T), so that there is no p_cache.
        """
        B, T, _ = hidden.shape
        probabilities = np.zeros((len(self._reaches), B, T), np.float32)
        is_empty = np.ones((B, T), np.bool_)
        width = max(1, min(self._window, BLOCK_SCORES // (B * 2 * self._window)))
        for start in range(0, T, width):
            part = slice(start, start + width)
            block = (hidden[:, part], following[:, part], documents[:, part])
            self._append(*block)
            probabilities[:, :, part], is_empty[:, part] = self._look_up(*block)
        return probabilities, is_empty

    def _append(self, hidden: np.ndarray, following: np.ndarray, documents: np.ndarray) -> None:
        T = hidden.shape[1]
        arrays: list[np.ndarray] = [self._hidden, self._following, self._documents]
        if self._end + T > self._hidden.shape[1]:
            kept = min(self._end, self._window)
            for array in arrays:
                array[:, :kept] = array[:, self._end - kept : self._end].copy()
            self._end = kept
        for array, new in zip(arrays, (hidden, following, documents), strict=True):
            array[:, self._end : self._end + T] = new
        self._end += T

    @let_overflow
    def _look_up(
        self, hidden: np.ndarray, following: np.ndarray, documents: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The results of `score` for a block that was just appended."""
        T = hidden.shape[1]
        first = max(0, self._end - T - self._window)
        pairs = slice(first, self._end)
        products = hidden @ self._hidden[:, pairs].transpose(0, 2, 1)  # (B, T, K)
        ages = np.arange(self._end - T - first, self._end - first)[:, None]
        ages = ages - np.arange(self._end - first)  # of each pair, seen from each token (T, K)
        is_target = self._following[:, None, pairs] == following[:, :, None]
        others: np.ndarray = self._documents[:, None, pairs] != documents[:, :, None]
        has_others = bool(others.any())
        is_later = ages <= 0
        is_empty = is_later | others if has_others else is_later[None]
        results = []
        for reach in self._reaches:
            weights = products * np.float32(reach.theta)
            weights[:, is_later | (ages > reach.window)] = -np.inf
            if has_others:
                weights[others] = -np.inf
            highest = weights.max(axis=2, keepdims=True)
            weights -= np.where(np.isfinite(highest), highest, 0.0)
            np.exp(weights, out=weights)
            total = weights.sum(axis=2)
            weights *= is_target
            results.append(weights.sum(axis=2) / np.where(total > 0.0, total, 1.0))
        empty = np.broadcast_to(is_empty.all(axis=2), following.shape)
        return np.stack(results), empty


def mix(
    losses: np.ndarray, probabilities: np.ndarray, is_empty: np.ndarray, weight: float
) -> np.ndarray:
    """The losses in nats of p = (1 - lambda) p_model + lambda p_cache; the model's where empty.

    Args:
        losses: -log p_model of the tokens that came (...), in nats.
        probabilities: p_cache of them (...). is_empty: where there is none (...).
        weight: lambda.

    >>> losses = -np.log(np.array([0.5, 0.5]))
    >>> mixed = mix(losses, np.array([1.0, 0.0]), np.array([False, True]), 0.2)
    >>> np.exp(-mixed).round(6).tolist()
    [0.6, 0.5]
    """
    p = (1.0 - weight) * np.exp(-losses.astype(np.float64)) + weight * probabilities
    with np.errstate(divide="ignore"):
        mixed: np.ndarray = np.where(is_empty, losses, -np.log(p))
    return mixed
