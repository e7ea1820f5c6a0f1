"""What `evaluate` says of a run that cannot be scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llm_timecycle.config.settings import ModelSettings, Settings, TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import RunError
from llm_timecycle.evaluation.report import score_run
from llm_timecycle.runs.directory import create_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

SETTINGS = Settings(
    tokenizer=TokenizerSettings(level="char"),
    model=ModelSettings(embedding_dim=2, hidden_units=3, num_layers=1),
)


@pytest.mark.parametrize(
    ("bad", "added", "message"),
    [
        (np.nan, 0, "the loss of .* is nan, not a finite number.*train it again"),
        (0.0, 1, "has 5 tokens, and the manifest of the run says 6"),
    ],
)
def test_a_run_that_cannot_be_scored(tmp_path: Path, bad: float, added: int, message: str) -> None:
    (tmp_path / "text.txt").write_text("abc")
    tokenizer = Tokenizer.train(SETTINGS.tokenizer, ["abc"])
    V = tokenizer.vocab_size + added
    run = create_run(tmp_path / "run", SETTINGS, tokenizer.to_json().encode(), V, {})
    shapes = compute_parameter_shapes(SETTINGS.model, V)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    weights["output.bias"][2] = bad
    run.save_weights(weights, {})
    data = str(tmp_path / "text.txt")
    with pytest.raises(RunError, match=message):
        score_run(run.path, data=data, split="valid", cache=tmp_path / "c", show_progress=False)
