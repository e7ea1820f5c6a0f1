"""TensorFlow as `train` sets it up."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _configured() -> None:
    """Deterministic, and with graphs that run as they were traced."""
    from llm_timecycle.training.devices import configure_tensorflow, make_plan

    configure_tensorflow(make_plan(threads=2, lanes=4, precision="float32"))
