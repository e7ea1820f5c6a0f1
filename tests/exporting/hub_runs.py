"""Runs for the tests of the Hub's folder: every part that a run can have, weights drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from llm_timecycle.exporting.huggingface.folder import write
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.learned import write_learned
from llm_timecycle.runs.manifest import record_facts
from llm_timecycle.text.prepare import prepare_text
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

ENGLISH = "".join(
    f"The {animal} saw a {thing} by the river, and {did}.\nNobody knew why, said the {animal}!\n"
    for animal in ("fox", "old cat", "dragon", "miller's son", "queen")
    for thing in ("stone", "boat", "golden ring", "tree", "naïve 中文 sign")
    for did in ("laughed", "went home", "slept until noon")
)
TOKENIZERS = {
    "char": TokenizerSettings(level="char", vocab_size=60),
    "word": TokenizerSettings(level="word", vocab_size=30),
    "unicode": TokenizerSettings(level="word", vocab_size=60, word_split="unicode"),
    "subword": TokenizerSettings(level="subword", vocab_size=320),
    "byte": TokenizerSettings(level="byte", vocab_size=258),
}
METRICS = """\
step,epoch,tokens,wall_s,train_loss_nats,valid_loss_nats,valid_accuracy
4,1,128,30,3.5,3.0,0.25
8,2,256,90,2.5,2.5,0.5
"""


@dataclass(frozen=True)
class Exported:
    """What `write` takes."""

    run: Run
    weights: dict[str, np.ndarray]
    tokenizer: Tokenizer


def make_run(
    path: Path,
    tokenizer: str = "char",
    *,
    documents: str = "file",
    text: str = ENGLISH,
    train: str | None = None,
    model: dict[str, Any] | None = None,
    generation: dict[str, Any] | None = None,
    origin: dict[str, Any] | None = None,
    field: str | None = None,
    eos_bias: float | None = None,
) -> Exported:
    """A run whose weights are drawn, with two validations in its metrics; its text is beside it.

    Args:
        eos_bias: of `<eos>` in the output; None leaves the drawn one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    corpus = path.with_suffix(".jsonl" if documents == "record" else ".txt")
    corpus.write_text(text, encoding="utf-8")
    settings = Settings(
        data=DataSettings(train=train or str(corpus), documents=documents, field=field),
        tokenizer=TOKENIZERS[tokenizer],
        model=ModelSettings(
            **{"embedding_dim": 12, "num_layers": 2, "hidden_units": 16} | (model or {})
        ),
        training=TrainingSettings(batch_size=4, sequence_length=8, threads=1, learning_rate=0.01),
        generation=GenerationSettings(**{"length": 30, "temperature": 1.0} | (generation or {})),
    )
    prepared = prepare_text(settings, path.parent, path.parent / "cache", show_progress=False)
    streams = {"train": prepared.train, "valid": prepared.valid, "test": prepared.test}
    counts = ("tokens", "unknown", "words", "characters", "bytes")
    run = create_run(
        path,
        settings,
        prepared.tokenizer.to_json().encode(),
        prepared.tokenizer.vocab_size,
        {
            split: {"sha256": stream.corpus_sha256} | {key: getattr(stream, key) for key in counts}
            for split, stream in streams.items()
            if stream is not None
        },
        {"training.seed": "what the doctor said"},
        write_learned(prepared),
        origin,
    )
    weights = _draw_weights(run, eos_bias)
    run.save_weights(weights, {"step": 8, "valid_loss_nats": 2.5})
    run.metrics_path.write_text(METRICS)
    run.samples_path.write_text("=== epoch 1, step 4\nthe secret of the fox\n\n")
    run.record_logs()
    record_facts(run.path, {"plans": [{"machine": "my-own-host"}]})
    return Exported(run, weights, prepared.tokenizer)


def export(source: Exported, folder: Path, **choices: Any) -> Path:
    """The folder that `write` makes of a run."""
    folder.mkdir()
    write(source, folder, **choices)
    return folder


def _draw_weights(run: Run, eos_bias: float | None) -> dict[str, np.ndarray]:
    """Weights with which greedy text does not repeat one token, yet rounding errors die out.

    Inputs count more than the state: otherwise such a network is chaotic, and the last bit of one
    logit decides what it writes a hundred tokens later.
    """
    rng = np.random.default_rng(5)
    shapes = compute_parameter_shapes(run.settings.model, run.vocab_size)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    factors = {"recurrent_kernel": 0.5, "kernel": 3.0, "bias": 0.2}
    for name in weights:
        weights[name] *= factors.get(name.partition(".")[2], 1.0)
    if eos_bias is not None:
        weights["output.bias"][1] = eos_bias
    return weights
