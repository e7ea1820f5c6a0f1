"""Which engine generates."""

from __future__ import annotations

from llm_timecycle.generation.engine import Engine
from llm_timecycle.generation.numpy_engine import NumpyEngine
from llm_timecycle.run import Run


def make_engine(run: Run, choice: str = "auto", *, rows: int = 1, tokens: int = 0) -> Engine:
    """The engine for a run's best weights."""
    return NumpyEngine(run.load_weights(), run.settings.model)
