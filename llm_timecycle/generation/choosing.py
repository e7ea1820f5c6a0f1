"""Which engine generates: the one that is done first."""

from __future__ import annotations

from llm_timecycle.generation.engine import Engine
from llm_timecycle.generation.numpy_engine import NumpyEngine
from llm_timecycle.run import Run

# Measured by scripts/bench/generation.py (reference model, 2 cores): tokens/s by rows, and what the
# TensorFlow engine takes until it runs, its import and the compiling of the loop included.
TENSORFLOW_START_S = 4.0
TENSORFLOW_FROM_ROWS = 64
NUMPY_RATE_TOKENS_PER_S = 5_000
TENSORFLOW_RATE_TOKENS_PER_S = 6_000


def make_engine(run: Run, choice: str = "auto", *, rows: int = 1, tokens: int = 0) -> Engine:
    """The engine for a run's best weights.

    Args:
        choice: `numpy`, `tensorflow`, or `auto`, which goes by `rows` texts of `tokens` tokens.

    Raises:
        RunError: the weights are missing or damaged.
    """
    weights = run.load_weights()
    if choice == "tensorflow" or (choice == "auto" and is_tensorflow_sooner(rows, tokens)):
        from llm_timecycle.model.quiet import import_tensorflow

        import_tensorflow()
        from llm_timecycle.generation.tensorflow_engine import TensorFlowEngine

        return TensorFlowEngine(weights, run.settings.model)
    return NumpyEngine(weights, run.settings.model)


def is_tensorflow_sooner(rows: int, tokens: int) -> bool:
    """Whether the TensorFlow engine, its start included, ends `rows` texts of `tokens` sooner."""
    if rows < TENSORFLOW_FROM_ROWS:
        return False
    numpy_s = rows * tokens / NUMPY_RATE_TOKENS_PER_S
    return TENSORFLOW_START_S + rows * tokens / TENSORFLOW_RATE_TOKENS_PER_S < numpy_s
