"""Runs with random weights, and what the parts of the program make of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from llm_timecycle.cli.generate import command
from llm_timecycle.config.settings import (
    GenerationSettings,
    ModelSettings,
    Settings,
    TokenizerSettings,
)
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

PROGRAM = [sys.executable, "-c", "from llm_timecycle.cli.main import main; main()", "generate"]
TEXTS = {"char": "abc defg.\n中文", "word": "once upon a time there was a cat\n"}


def make_run(
    path: Path,
    level: str,
    text: str | None = None,
    *,
    word_split: str = "whitespace",
    **generation: object,
) -> Run:
    """A run whose weights are drawn, not trained, and which never ends a text by <eos>."""
    size = 50 if level in TEXTS else 300
    settings = Settings(
        tokenizer=TokenizerSettings(level=level, vocab_size=size, word_split=word_split),
        model=ModelSettings(embedding_dim=4, num_layers=2, hidden_units=6),
        generation=GenerationSettings(**{"length": 12, "seed": 3, "temperature": 1.0} | generation),
    )
    tokenizer = Tokenizer.train(settings.tokenizer, [text or TEXTS[level]])
    run = create_run(path, settings, tokenizer.to_json().encode(), tokenizer.vocab_size, {})
    rng = np.random.default_rng(5)
    shapes = compute_parameter_shapes(settings.model, tokenizer.vocab_size)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["output.bias"][tokenizer.eos_id] = -1000.0
    run.save_weights(weights, {"step": 0})
    return run


def call(run: Path, *arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(command, [str(run), *arguments], input=stdin)


def generate_directly(run: Run, prompt: str, samples: int = 1, **settings: object) -> list[str]:
    """What the parts say, put together without the command."""
    tokenizer = run.load_tokenizer()
    merged = GenerationSettings(**run.settings.generation.model_dump() | settings)
    engine = NumpyEngine(run.load_weights(), run.settings.model)
    texts = TextGenerator(engine, tokenizer, merged).generate(prompt, samples)
    return [text.text for text in texts]
