"""The inference backend: `auto` picks the faster engine for a request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from llm_timecycle.arguments import write_received
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.runs.directory import Run

EngineKind = Literal["numpy", "tensorflow"]

# Measured by scripts/bench/generation.py (reference model, 2 cores): the NumPy engine is faster for
# 1, 8 and 128 texts and within a tenth for 32, while TensorFlow takes 3 s to start. So only a GPU
# is worth that start, and only for requests that would take NumPy several times as long.
NUMPY_RATE_TOKENS_PER_S = {1: 1_200, 8: 3_000, 32: 4_500, 128: 6_000}  # by the least rows
WORTH_STARTING_TENSORFLOW_S = 10.0
GPU_DEVICE = Path("/dev/nvidia0")  # asking TensorFlow would import it


def choose_engine(choice: str, rows: int, tokens: int) -> EngineKind:
    """The engine for `rows` texts of `tokens` tokens.

    Args:
        choice: `numpy`, `tensorflow`, or `auto`, which picks the faster one.
        rows, tokens: the size of the request.

    Raises UsageError for any other choice.
    """
    if choice not in ("auto", *get_args(EngineKind)):
        raise UsageError(
            f"engine: received {write_received(choice)}; expected auto, numpy or tensorflow"
        )
    if choice == "tensorflow":
        return "tensorflow"
    rate = max(rate for least, rate in NUMPY_RATE_TOKENS_PER_S.items() if rows >= least)
    is_long = rows * tokens / rate > WORTH_STARTING_TENSORFLOW_S
    return "tensorflow" if choice == "auto" and is_long and GPU_DEVICE.exists() else "numpy"


def make_engine(
    run: Run,
    choice: str = "auto",
    *,
    rows: int = 1,
    tokens: int = 0,
    weights: Mapping[str, np.ndarray] | None = None,
) -> Engine:
    """An engine with a run's best weights, of the kind that `choose_engine` picks.

    Args:
        weights: the run's, where they have been loaded.

    Raises:
        UsageError: `choice` is not an engine.
        RunError: the weights are missing or damaged.
    """
    kind = choose_engine(choice, rows, tokens)
    weights = run.load_weights() if weights is None else weights
    if kind == "numpy":
        return NumpyEngine(weights, run.settings.model)
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.generation.engines.tensorflow_engine import TensorFlowEngine

    return TensorFlowEngine(weights, run.settings.model)
