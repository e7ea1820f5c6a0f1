"""Small runs with random weights, one for each kind of network that the settings allow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llm_timecycle.config.settings import (
    GenerationSettings,
    ModelSettings,
    Settings,
    TokenizerSettings,
)
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.exporting.source import Source, open_source
from llm_timecycle.reference.network import forward
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

TEXT = "once upon a time there was a cat, and it sat.\n"
WIDE = {"embedding_dim": 6, "hidden_units": 6}
VARIANTS = {
    "one layer": ModelSettings(embedding_dim=4, hidden_units=6, num_layers=1),
    "three layers": ModelSettings(embedding_dim=7, hidden_units=5, num_layers=3),
    "tied": ModelSettings(**WIDE, tie_embeddings=True),
    "tied with projection": ModelSettings(embedding_dim=4, hidden_units=6, tie_embeddings=True),
    "norms": ModelSettings(embedding_dim=4, hidden_units=6, layer_norm=True),
    "residual": ModelSettings(embedding_dim=4, hidden_units=6, num_layers=3, residual=True),
    "residual from the first": ModelSettings(**WIDE, residual=True),
    "everything": ModelSettings(
        embedding_dim=4,
        hidden_units=6,
        num_layers=3,
        tie_embeddings=True,
        layer_norm=True,
        residual=True,
    ),
}


def make_run(
    path: Path,
    model: ModelSettings = VARIANTS["everything"],
    level: str = "char",
    word_split: str = "whitespace",
    documents: str = "file",
    scale: float = 0.6,
    **generation: object,
) -> Run:
    """A run whose weights are drawn, and small enough that rounding does not grow."""
    settings = Settings(
        data={"train": "sample-english", "documents": documents},  # for the copies: it is short
        tokenizer=TokenizerSettings(level=level, vocab_size=300, word_split=word_split),
        model=model,
        generation=GenerationSettings(**{"length": 30, "temperature": 0.0} | generation),
    )
    tokenizer = Tokenizer.train(settings.tokenizer, [TEXT], documents=documents)
    run = create_run(path, settings, tokenizer.to_json().encode(), tokenizer.vocab_size, {})
    rng = np.random.default_rng(7)
    shapes = compute_parameter_shapes(model, tokenizer.vocab_size)
    run.save_weights(
        {name: rng.normal(0, scale, shape).astype(np.float32) for name, shape in shapes.items()},
        {"step": 0},
    )
    return run


def make_source(path: Path, model: ModelSettings) -> Source:
    """Such a run, opened for an export."""
    return open_source(make_run(path, model).path)


def draw_inputs(source: Source, B: int, T: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Tokens (B, T), and states (B, H) in the network's order."""
    rng = np.random.default_rng(2)
    shape = (B, source.model.hidden_units)
    states = [rng.normal(size=shape).astype(np.float32) for _ in range(2 * source.model.num_layers)]
    return rng.integers(0, source.vocab_size, (B, T)), states


def compute_expected(
    source: Source, tokens: np.ndarray, states: list[np.ndarray]
) -> list[np.ndarray]:
    """Logits (B, T, V) and the states after the last token, by the NumPy reference."""
    logits, new_states, _ = forward(source.weights, tokens, states, residual=source.model.residual)
    return [logits, *new_states]


def assert_close(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """The same shapes, and the same values to float32 rounding."""
    assert [each.shape for each in found] == [each.shape for each in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
