"""Small runs with everything that a run can have, made without TensorFlow, the same every time."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from llm_timecycle.config.settings import (
    DataSettings,
    GenerationSettings,
    ModelSettings,
    Settings,
    TokenizerSettings,
    TrainingSettings,
)
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.learned import write_learned
from llm_timecycle.text.prepare import PreparedText, prepare_text
from llm_timecycle.training.checkpoints import Checkpoint, write_checkpoint
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.reporting.growing_file import GrowingFile
from llm_timecycle.training.reporting.metrics import MetricsLog

ENGLISH = "".join(
    f"The {animal} saw a {thing} by the river, and {did}.\nNobody knew why, said the {animal}.\n"
    for animal in ("fox", "old cat", "dragon", "miller's son", "queen")
    for thing in ("stone", "boat", "golden ring", "tree")
    for did in ("laughed", "went home", "slept until noon")
)
CHINESE = "从前有一只狐狸。它看见河边有一块石头，就笑了。\n没有人知道为什么。\n" * 20
TOKENIZERS = {
    "char": TokenizerSettings(level="char", vocab_size=60),
    "word": TokenizerSettings(level="word", vocab_size=40),
    "unicode": TokenizerSettings(level="word", vocab_size=40, word_split="unicode"),
    "subword": TokenizerSettings(level="subword", vocab_size=300),
    "byte": TokenizerSettings(level="byte", vocab_size=258),
}
MODEL = ModelSettings(embedding_dim=4, num_layers=2, hidden_units=6)
TRAINING = TrainingSettings(
    batch_size=4, sequence_length=8, max_steps=8, checkpoint_every=4, learning_rate=0.01
)
GENERATION = GenerationSettings(length=12, seed=3, temperature=1.0)
STEPS = (4, 8)


def make_settings(text: Path, tokenizer: str = "char", documents: str = "file") -> Settings:
    """Settings of a small run on a text."""
    return Settings(
        data=DataSettings(train=str(text), documents=documents),
        tokenizer=TOKENIZERS[tokenizer],
        model=MODEL,
        training=TRAINING,
        generation=GENERATION,
    )


def make_run(
    path: Path, tokenizer: str = "char", documents: str = "file", text: str = ENGLISH, seed: int = 5
) -> Run:
    """A run whose weights are drawn, not trained, with checkpoints; its text is beside it."""
    corpus = path.with_suffix(".txt")
    corpus.write_text(text, encoding="utf-8")
    settings = make_settings(corpus, tokenizer, documents)
    cache = path.with_suffix(".cache")
    prepared = prepare_text(settings, path.parent, cache, show_progress=False)
    run = create_run(
        path,
        settings,
        prepared.tokenizer.to_json().encode(),
        prepared.tokenizer.vocab_size,
        describe_corpora(prepared),
        {"training.max_steps": "soon done"},
        write_learned(prepared),
    )
    weights = draw_weights(run, seed)
    for step in STEPS:
        progress = _write_logs(run, step)
        tensors = {f"weights.{name}": array for name, array in weights.items()}
        tensors |= {
            "state.0": np.full((4, 6), step, np.float32),
            "random.0": np.zeros(2, np.uint32),
        }
        checkpoint = Checkpoint(progress, tensors, run.read_identity())
        write_checkpoint(run.checkpoints_path, checkpoint, keep=2)
        run.save_weights(weights, {"step": step, "valid_loss_nats": 3.5 - step / 10})
    run.record_logs()
    shutil.rmtree(cache)
    return run


def describe_corpora(prepared: PreparedText) -> dict[str, dict[str, object]]:
    """What the manifest says of each text, without the import of TensorFlow."""
    streams = {"train": prepared.train, "valid": prepared.valid, "test": prepared.test}
    names = ("tokens", "unknown", "words", "characters", "bytes")
    return {
        split: {"sha256": stream.corpus_sha256} | {name: getattr(stream, name) for name in names}
        for split, stream in streams.items()
        if stream is not None
    }


def draw_weights(run: Run, seed: int) -> dict[str, np.ndarray]:
    """Weights of the run's shapes; <eos> is hardly ever likely."""
    rng = np.random.default_rng(seed)
    shapes = compute_parameter_shapes(run.settings.model, run.vocab_size)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["output.bias"][1] = -10.0
    return weights


def _write_logs(run: Run, step: int) -> Progress:
    """Rows and samples up to a step, and the progress that fits them."""
    progress = Progress(step=step, tokens=32 * step, wall_s=0.5 * step, best_loss=3.5 - step / 10)
    progress = replace(progress, best_step=step, validated_step=step, logged_step=step)
    metrics = MetricsLog(run.metrics_path, _size(run.metrics_path))
    loss = progress.best_loss
    metrics.append_row({"step": step, "tokens": 32 * step, "valid_loss_nats": loss})
    samples = GrowingFile(run.samples_path, _size(run.samples_path))
    samples.append(f"=== step {step} ===\nThe fox saw\n")
    sizes = {"metrics_bytes": metrics.flush(), "samples_bytes": samples.flush()}
    metrics.close()
    samples.close()
    return replace(progress, **sizes)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
