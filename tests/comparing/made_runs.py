"""Runs with random weights and a log, made in a moment: what a training would have left."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.config.text_settings import DataSettings, TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from llm_timecycle.training.reporting.metrics import MetricsLog

TRAIN = {"tokens": 901, "words": 180, "characters": 900, "bytes": 1200, "sha256": 64 * "a"}
VALID = {"tokens": 101, "words": 20, "characters": 100, "bytes": 200}
LOSSES = (2.0, 1.5, 1.25)
"""Of the validations after steps 10, 20 and 30."""


def make_run(
    path: Path,
    *,
    text: str | list[str] = "novel.txt",
    level: str = "char",
    hidden_units: int = 6,
    losses: tuple[float, ...] = LOSSES,
    unknown: int = 0,
    valid_sha256: str = 64 * "b",
    planned_steps: int = 30,
    origin: dict[str, object] | None = None,
    sample: str = "Once upon",
) -> Run:
    """A run of some steps a validation; with `losses=()` one whose training has not begun."""
    settings = Settings(
        data=DataSettings(train=text),
        tokenizer=TokenizerSettings(level=level, vocab_size=300),
        model=ModelSettings(embedding_dim=4, num_layers=1, hidden_units=hidden_units),
        training=TrainingSettings(batch_size=2),
    )
    tokenizer = Tokenizer.train(settings.tokenizer, ["abc defg.\n中文 the cat\n"])
    valid = VALID | {"unknown": unknown, "sha256": valid_sha256}
    corpora = {"train": TRAIN, "valid": valid}
    content = tokenizer.to_json().encode()
    run = create_run(path, settings, content, tokenizer.vocab_size, corpora, origin=origin)
    if losses:
        best = min(range(len(losses)), key=losses.__getitem__)
        rng = np.random.default_rng(5)
        shapes = compute_parameter_shapes(settings.model, tokenizer.vocab_size)
        weights = {
            name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()
        }
        run.save_weights(weights, {"step": 10 * (best + 1), "valid_loss_nats": losses[best]})
        write_log(run, losses, planned_steps)
        run.samples_path.write_text(
            f"=== epoch 1, step 10: valid loss {losses[0]:.4f}\nthe the the\n\n"
            f"=== epoch 3, step 30: valid loss {losses[-1]:.4f}\n{sample}\n\n"
        )
        run.record_logs()
    return run


def set_date(run: Run, day: int) -> None:
    """Date a run to noon of a day of May 2026, which is that day nearly everywhere."""
    noon_s = datetime(2026, 5, day, 12, tzinfo=UTC).timestamp()
    os.utime(run.path / "manifest.json", (noon_s, noon_s))


def write_log(run: Run, losses: tuple[float, ...], planned_steps: int) -> None:
    """A row each 10 steps: 100 tokens/s, 12 s of training and 3 s of validation."""
    log = MetricsLog(run.metrics_path, 0)
    for number, loss in enumerate(losses, start=1):
        log.append_row(
            {
                "step": 10 * number,
                "epoch": float(number),
                "tokens": 1200 * number,
                "wall_s": 15.0 * number,
                "train_loss_nats": loss - 0.5,
                "valid_loss_nats": loss,
                "valid_accuracy": 0.5,
                "input_s": 2.0,
                "compute_s": 9.0,
                "other_s": 1.0,
                "validation_s": 3.0,
                "checkpoint_s": 0.0,
                "planned_steps": planned_steps,
            }
        )
    log.close()
