"""`example.py` of an exported folder: the model in NumPy, in as few lines as it takes.

It has only what the model has, so that it can be read in a minute: the lines for layer
normalization, residual connections, tied embeddings and the tokenizer's level are left out where
they would do nothing.
"""

from __future__ import annotations

from typing import Any

from llm_timecycle.config.settings import Settings
from llm_timecycle.config.text_settings import does_eos_end_documents
from llm_timecycle.config.weight_shapes import LAYER_NORM_EPSILON, is_residual
from llm_timecycle.exporting.huggingface.templates import render

TEMPLATE = "example.py.j2"


def write_example(settings: Settings) -> str:
    """The content of `example.py` for the model of these settings."""
    return render(TEMPLATE, _list_values(settings))


def _list_values(settings: Settings) -> dict[str, Any]:
    model, tokenizer, generation = settings.model, settings.tokenizer, settings.generation
    layers = range(1, model.num_layers + 1)
    return {
        "layers": model.num_layers,
        "hidden": model.hidden_units,
        "layer_norm": model.layer_norm,
        "epsilon": LAYER_NORM_EPSILON,
        "residual_from": next((n for n in layers if is_residual(model, n)), None),
        "tied": model.tie_embeddings,
        "projection": model.tie_embeddings and model.embedding_dim != model.hidden_units,
        "is_split": tokenizer.level == "word",
        "is_unicode_split": tokenizer.level == "word" and tokenizer.word_split == "unicode",
        "eos_ends": does_eos_end_documents(tokenizer, settings.data.documents),
        "begins_with_eos": settings.data.documents != "file",
        "length": generation.length,
        "temperature": generation.temperature,
    }
