"""An engine with a neural cache: what followed moments like the present one becomes likelier.

    p(w) = (1 - lambda) p_model(w) + lambda p_cache(w)

It stands around another engine and gives log p in place of the logits, so that sampling, beams and
log-probabilities all work on the mixture. `reference/neural_cache.py` is the twin of the cache;
`evaluate --cache` says which settings suit a model.

Shapes: B rows, T tokens, V vocabulary, K pairs in the cache, H what goes into the output layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.engines.blocked_matmul import let_overflow
from llm_timecycle.generation.engines.engine import Engine

WINDOW = 2000
"""The latest tokens that it remembers."""
USUAL_SHARPNESS = 16.0
"""theta times the mean of |h|^2, where theta is left open."""


def add_cache(engine: Engine, settings: GenerationSettings) -> Engine:
    """The engine itself, or with the cache around it that the settings ask for."""
    if settings.cache > 0.0:
        return CachedEngine(engine, settings.cache, settings.cache_theta)
    return engine


class CachedEngine:
    """An `Engine` around another one, which it has for itself.

    Args:
        engine: the model; it is reset.
        weight: lambda, the share of the cache.
        theta: how sharply likeness is judged; None suits it to the length of the hidden vectors.
        window: how many of the latest tokens are remembered.
    """

    def __init__(
        self, engine: Engine, weight: float, theta: float | None = None, window: int = WINDOW
    ) -> None:
        self._engine, self._weight, self._theta, self._window = engine, weight, theta, window
        self._rows: list[_RowCache] = []
        engine.reset()

    def reset(self) -> None:
        """Forget the state and the cache."""
        self._engine.reset()
        self._rows = []

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; returns log p (B, V) of the token after the last."""
        for column in ids.T[:-1]:
            self._read(column)
        return self.step(ids[:, -1])

    def prefill_each(self, texts: Sequence[np.ndarray]) -> np.ndarray:
        """Start new texts of different lengths, one per row, each of a token or more.

        Returns log p (B, V) of the token after the last of each.
        """
        rows = []
        for text in texts:
            self.reset()
            self.prefill(text[np.newaxis])
            rows += self._rows
        self.reset()
        logits = self._engine.prefill_each(texts)
        self._rows = rows
        return self._mix(logits)

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Read ids (B, T), T >= 1; returns log p after each (B, T, V), all in memory."""
        return np.stack([self.step(column) for column in ids.T], axis=1)

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Read one more id per row (B,); returns log p (B, V) of the token after it."""
        return self._mix(self._read(ids))

    def select_rows(self, rows: Sequence[int]) -> None:
        """Continue with these rows, in this order; a row may be dropped or repeated."""
        self._engine.select_rows(rows)
        self._rows = [self._rows[row].copy() for row in rows]

    def read_hidden(self) -> np.ndarray:
        """What went into the output layer last (B, H)."""
        return self._engine.read_hidden()

    def _read(self, ids: np.ndarray) -> np.ndarray:
        """Read ids, which followed what was before; the model's logits (B, V)."""
        logits = self._engine.step(ids)
        hidden = self._engine.read_hidden()
        if not self._rows:
            self._rows = [_RowCache(self._window, hidden.shape[1]) for _ in ids]
        for row, token, vector in zip(self._rows, ids.tolist(), hidden, strict=True):
            row.add(token, vector)
        return logits

    def _mix(self, logits: np.ndarray) -> np.ndarray:
        """log p (B, V), float64, of the model's logits and what is remembered."""
        p = logits.astype(np.float64)
        p -= p.max(axis=1, keepdims=True)
        log_p: np.ndarray = p - np.log(np.exp(p).sum(axis=1, keepdims=True))
        for row, cache in zip(log_p, self._rows, strict=True):
            found = cache.compute_distribution(self._theta)
            if found is not None:
                tokens, p_cache = found
                row += np.log1p(-self._weight)
                with np.errstate(divide="ignore"):  # log 0, where one moment is far the likest
                    log_p_cache = np.log(p_cache)
                row[tokens] = np.logaddexp(row[tokens], np.log(self._weight) + log_p_cache)
        return log_p


class _RowCache:
    """The latest pairs of one text: what went into the output layer, and the token after it."""

    def __init__(self, window: int, hidden_units: int) -> None:
        self._window = window
        self._hidden = np.zeros((0, hidden_units), np.float32)
        self._following = np.zeros(0, np.int64)
        self._pairs = 0
        self._last: np.ndarray | None = None

    def copy(self) -> _RowCache:
        """Another one with the same pairs."""
        other = _RowCache(self._window, self._hidden.shape[1])
        other._hidden, other._following = self._hidden.copy(), self._following.copy()
        other._pairs, other._last = self._pairs, self._last
        return other

    def add(self, token: int, hidden: np.ndarray) -> None:
        """Remember that a token came, and what goes into the output layer now (H,)."""
        if self._last is not None:
            if self._pairs == len(self._following):
                self._grow()
            self._hidden[self._pairs] = self._last
            self._following[self._pairs] = token
            self._pairs += 1
        self._last = hidden.astype(np.float32)

    def _grow(self) -> None:
        """Make room: double the arrays, up to twice the window; then keep one window."""
        kept = min(self._pairs, self._window)
        size = max(64, min(2 * self._pairs, 2 * self._window), kept + 1)
        latest = slice(self._pairs - kept, self._pairs)
        hidden, following = self._hidden[latest], self._following[latest]
        self._hidden = np.zeros((size, hidden.shape[1]), np.float32)
        self._following = np.zeros(size, np.int64)
        self._hidden[:kept], self._following[:kept] = hidden, following
        self._pairs = kept

    @let_overflow
    def compute_distribution(self, theta: float | None) -> tuple[np.ndarray, np.ndarray] | None:
        """The tokens that it remembers, sorted, each once, and p_cache of them; None if empty."""
        if not self._pairs or self._last is None:
            return None
        pairs = slice(max(self._pairs - self._window, 0), self._pairs)
        keys = self._hidden[pairs]
        if theta is None:
            theta = USUAL_SHARPNESS / max(float(np.square(keys).sum(axis=1).mean()), 1e-12)
        scores = theta * (keys @ self._last).astype(np.float64)
        weights = np.exp(scores - scores.max())
        tokens, place = np.unique(self._following[pairs], return_inverse=True)
        p_cache: np.ndarray = np.bincount(place, weights) / weights.sum()
        return tokens, p_cache
