"""From the blocks of a reader to sums: the model's own, and with the cache mixed in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from llm_timecycle.evaluation.adaptive.neural_cache import CacheReach, NeuralCache, mix
from llm_timecycle.evaluation.adaptive.reading import Block


@dataclass(frozen=True)
class Predictions:
    """How likely tokens that came were to the model, and to the cache (N tokens, C candidates)."""

    losses: np.ndarray
    """-log p_model in nats (N,)."""
    cached: np.ndarray
    """p_cache by each candidate (C, N)."""
    is_empty: np.ndarray
    """Where the cache remembered nothing of the document (N,)."""

    def compute_loss(self, candidate: int, weight: float) -> float:
        """The mean loss in nats a token with the cache of a candidate, lambda = `weight`."""
        return float(mix(self.losses, self.cached[candidate], self.is_empty, weight).mean())


@dataclass
class Stopwatch:
    """Seconds that the cache took; the rest is the model's."""

    now: Callable[[], float] = time.perf_counter
    cache_s: float = field(default=0.0)


def predict(
    blocks: Iterable[Block], reaches: Sequence[CacheReach], watch: Stopwatch | None = None
) -> Iterator[Predictions]:
    """What the model and the cache say of the tokens that count, block by block.

    Args:
        blocks: of a text, in order.
        reaches: candidates for the cache (C); none leaves the cache out.
        watch: adds up what the cache takes.
    """
    watch = watch or Stopwatch()
    cache = None
    for block in blocks:
        began_s = watch.now()
        pairs = (block.hidden, block.following, block.documents)
        if cache is None and reaches:
            lanes, _, hidden_units = block.hidden.shape
            cache = NeuralCache(lanes, hidden_units, reaches)
        if block.losses is None or block.is_counted is None:
            if cache is not None:
                cache.read(*pairs)
            continue
        counted = block.is_counted
        cached = np.zeros((len(reaches), *counted.shape), np.float32)
        is_empty = np.ones(counted.shape, np.bool_)
        if cache is not None:
            cached, is_empty = cache.score(*pairs)
        watch.cache_s += watch.now() - began_s
        yield Predictions(block.losses[counted], cached[:, counted], is_empty[counted])


def collect(predictions: Iterable[Predictions]) -> Predictions:
    """All of a short text, such as the one that is tuned on."""
    parts = list(predictions)
    return Predictions(
        np.concatenate([part.losses for part in parts]),
        np.concatenate([part.cached for part in parts], axis=1),
        np.concatenate([part.is_empty for part in parts]),
    )


def add_up(predictions: Iterable[Predictions], weight: float | None) -> tuple[float, float, int]:
    """Nats of the model alone, nats with the cache of the one candidate, and the tokens counted.

    Args:
        weight: lambda; None where there is no cache.
    """
    plain_nats = mixed_nats = 0.0
    tokens = 0
    for part in predictions:
        plain_nats += float(part.losses.sum(dtype=np.float64))
        if weight is not None:
            mixed_nats += float(mix(part.losses, part.cached[0], part.is_empty, weight).sum())
        tokens += len(part.losses)
    return plain_nats, mixed_nats, tokens
