"""A new run whose model is tiny, and weights that fit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_timecycle.config.settings import ModelSettings, Settings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.sealed_json import write_sealed

SETTINGS = Settings(model=ModelSettings(embedding_dim=2, hidden_units=3, num_layers=1))


def make_weights(value: float) -> dict[str, np.ndarray]:
    """Weights that are all `value`."""
    shapes = compute_parameter_shapes(SETTINGS.model, 5)
    return {name: np.full(shape, value, np.float32) for name, shape in shapes.items()}


def change_manifest(run: Run, **entries: Any) -> None:
    """Write other entries into the manifest of a run, as someone would who seals it anew."""
    changed = {**run.read_manifest(), **entries}
    (run.path / "manifest.json").write_bytes(write_sealed(changed))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run without weights, at `mine`; its tokenizer.json is not one."""
    return create_run(tmp_path / "mine", SETTINGS, b"{}", 5, {"train": {"sha256": 64 * "0"}})
