"""`config.json` and `generation_config.json`: the model and its sampling in the Hub's terms."""

from __future__ import annotations

import json
from typing import Any

from llm_timecycle import __version__
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.text_settings import does_eos_end_documents
from llm_timecycle.config.weight_shapes import LAYER_NORM_EPSILON, count_parameters
from llm_timecycle.text.tokenizer.pipelines import END_ID, UNKNOWN_ID

MODEL_TYPE = "llm-timecycle-lstm"


def write_config(settings: Settings, vocab_size: int) -> bytes:
    """`config.json`: the network and the tokenizer. The Hub counts downloads by this file."""
    model, tokenizer = settings.model, settings.tokenizer
    config: dict[str, Any] = {
        "model_type": MODEL_TYPE,
        "library_name": "llm-timecycle",
        "library_version": __version__,
        "dtype": "float32",
        "parameters": count_parameters(model, vocab_size),
        "vocab_size": vocab_size,
        "embedding_dim": model.embedding_dim,
        "num_layers": model.num_layers,
        "hidden_units": model.hidden_units,
        "tie_embeddings": model.tie_embeddings,
        "layer_norm": model.layer_norm,
        "layer_norm_epsilon": LAYER_NORM_EPSILON,
        "residual": model.residual,
        "tokenizer_level": tokenizer.level,
        "tokenizer_word_split": tokenizer.word_split if tokenizer.level == "word" else None,
        "documents": settings.data.documents,
        "unk_token_id": UNKNOWN_ID,
        "eos_token_id": END_ID,
    }
    return _write(config)


def write_generation_config(settings: Settings) -> bytes:
    """`generation_config.json`: the settings of `generation` that have a name in `transformers`.

    `config.yaml` has all of them; DRY, XTC, the neural cache and stop sequences have none there.
    """
    generation = settings.generation
    config: dict[str, Any] = {
        "max_new_tokens": generation.length,
        "do_sample": generation.temperature > 0 and generation.beams == 1,
        "num_beams": generation.beams,
        "repetition_penalty": generation.repetition_penalty,
        "no_repeat_ngram_size": generation.no_repeat_ngram,
        "bos_token_id": END_ID,
    }
    if does_eos_end_documents(settings.tokenizer, settings.data.documents):
        config["eos_token_id"] = END_ID
    if not generation.allow_unknown:
        config["suppress_tokens"] = [UNKNOWN_ID]
    if config["do_sample"]:
        config |= {
            "temperature": generation.temperature,
            "top_k": generation.top_k or 0,
            "top_p": generation.top_p,
            "min_p": generation.min_p,
            "typical_p": generation.typical_p,
        }
    return _write(config)


def _write(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
