"""An export compared with the run it was made of, token by token.

Both read the text that the run's NumPy engine writes when it always takes the likeliest token, and
the largest difference between two logits is what counts: in itself where weights are stored as they
are, and as a share of the largest logit where they were rounded. Then both also read a text that
the engine draws, and what rounding costs is told as perplexity:

    H    = mean over the text of  - sum_v p_v log p_v        exp(H), the run's
    H(q) = mean over the text of  - sum_v p_v log q_v        exp(H(q)), the export's

with p the run's distribution of the next token and q the export's; H(q) - H is the mean
Kullback-Leibler divergence. The sum over v leaves nothing to the luck of the draw but the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from llm_timecycle.errors import ExportError
from llm_timecycle.exporting.formats import Reader
from llm_timecycle.exporting.source import Source
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine

GREEDY_STEPS = 200
DRAWN_STEPS = 500
FLOAT32_LIMIT = 1e-4
ROUNDED_LIMIT = 2e-2
"""Of the largest logit."""
SEED = 1


@dataclass(frozen=True)
class Comparison:
    """How far an export is from its run."""

    runtime: str
    """What read the export."""
    steps: int
    """Tokens of the text."""
    largest_difference: float
    """Between two logits, at any of the steps."""
    largest_logit: float
    """Of the run, without its sign."""
    limit: float
    """What the largest difference may be at most."""
    run_perplexity: float | None = None
    """exp(H) on a text that the run draws; None where no weight was rounded."""
    export_perplexity: float | None = None
    """exp(H(q)) on the same text."""

    def __str__(self) -> str:
        text = (
            f"compared with the run over {self.steps} greedy steps, read by {self.runtime}: "
            f"largest difference of a logit {self.largest_difference:.1e} (limit {self.limit:.0e}, "
            f"largest logit {self.largest_logit:.3g})"
        )
        if self.run_perplexity is None or self.export_perplexity is None:
            return text
        loss = self.export_perplexity / self.run_perplexity - 1
        return (
            f"{text}; perplexity on a text that the run draws {self.export_perplexity:.4g}, "
            f"the run's {self.run_perplexity:.4g} ({100 * loss:+.2f} %)"
        )


def compare(
    source: Source, open_reader: Callable[[], Reader], runtime: str, precision: str
) -> Comparison:
    """Read the same texts with the run's engine and with an export.

    Args:
        open_reader: makes a reader at the start of a text.
        runtime: what the reader is made with.
        precision: how the export stores its weights.

    Raises:
        ExportError: they differ by more than the precision explains.
    """
    is_rounded = precision != "float32"
    largest, largest_logit = _compare_greedy(source, open_reader())
    limit = ROUNDED_LIMIT * largest_logit if is_rounded else FLOAT32_LIMIT
    if not largest <= limit:
        raise ExportError(
            f"the export differs from the run: by {largest:.3g} in a logit, where at most "
            f"{limit:.3g} is expected of {precision}. Nothing was kept"
            + (". With precision float32 there is no rounding" if is_rounded else "")
        )
    result = Comparison(runtime, GREEDY_STEPS, largest, largest_logit, limit)
    if not is_rounded:
        return result
    entropy, cross_entropy = _measure_loss(source, open_reader())
    return replace(
        result, run_perplexity=math.exp(entropy), export_perplexity=math.exp(cross_entropy)
    )


def _compare_greedy(source: Source, read: Reader) -> tuple[float, float]:
    """The largest difference of logits over a greedy text after an <eos>, and the largest logit."""
    engine = NumpyEngine(source.weights, source.model)
    token, largest, largest_logit = source.tokenizer.eos_id, 0.0, 0.0
    for _ in range(GREEDY_STEPS):
        expected, found = engine.step(np.array([token]))[0], read(token)
        if not np.isfinite(found).all():
            return math.inf, largest_logit
        largest = max(largest, float(np.abs(found - expected).max()))
        largest_logit = max(largest_logit, float(np.abs(expected).max()))
        token = int(expected.argmax())
    return largest, largest_logit


def _measure_loss(source: Source, read: Reader) -> tuple[float, float]:
    """H and H(q), in nats, over a text that the run draws."""
    engine, rng = NumpyEngine(source.weights, source.model), np.random.default_rng(SEED)
    token, sums = source.tokenizer.eos_id, np.zeros(2)
    for _ in range(DRAWN_STEPS):
        log_p = _log_softmax(engine.step(np.array([token]))[0])
        log_q = _log_softmax(read(token))
        p = np.exp(log_p)
        sums -= [p @ log_p, p @ log_q]
        token = int(rng.choice(len(p), p=p / p.sum()))
    entropy, cross_entropy = sums / DRAWN_STEPS
    return float(entropy), float(cross_entropy)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    z = logits.astype(np.float64)
    z -= z.max()
    z -= np.log(np.exp(z).sum())
    return z
