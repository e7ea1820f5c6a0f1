"""What the page knows of a model beside its weights, as plain values for JSON.

Paths, and names of texts, stay at home: the page is meant to be passed on.
"""

from __future__ import annotations

import json
from typing import Any

from llm_timecycle.config.settings import GenerationSettings, Settings
from llm_timecycle.config.weight_shapes import LAYER_NORM_EPSILON, is_residual
from llm_timecycle.exporting.web.patterns import translate_pattern
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from llm_timecycle.text.tokenizer.words import compile_word_start

NUMBERS = (
    *("min_p", "typical_p", "xtc_probability", "xtc_threshold"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("dry_multiplier", "dry_base", "dry_allowed_length", "no_repeat_ngram"),
)
"""What the page samples by, without a control for it."""
CONTROLS = ("length", "temperature", "top_p", "top_k", "seed")


def describe_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """Level, options and vocabulary; for words of the unicode split and subwords, the patterns."""
    settings = tokenizer.settings
    written = json.loads(tokenizer.to_json())
    ids = written["model"]["vocab"]
    tokens = sorted(ids, key=ids.__getitem__)
    facts: dict[str, Any] = {
        "level": settings.level,
        "splits_at_whitespace": settings.word_split == "whitespace",
        "lowercase": settings.lowercase,
        "normalize": tokenizer.normalize,
        "documents": tokenizer.documents,
        "eos_ends_documents": tokenizer.does_eos_end_documents,
        "tokens": tokens,
    }
    is_split_by_pattern = settings.level == "word" and settings.word_split == "unicode"
    if settings.level == "subword" or is_split_by_pattern:
        steps = written["pre_tokenizer"]["pretokenizers"]
        patterns = [step["pattern"]["Regex"] for step in steps if step["type"] == "Split"]
        facts["patterns"] = [*map(translate_pattern, patterns)]
    if settings.level == "subword":
        facts["merges"] = [" ".join(pair) for pair in written["model"]["merges"]]
    if is_split_by_pattern:
        begins_word = compile_word_start().match
        texts = [tokens[tokenizer.unk_id], "", *tokens[2:]]
        flags = (id == tokenizer.unk_id or bool(begins_word(t)) for id, t in enumerate(texts))
        facts["are_words"] = "".join("1" if flag else "0" for flag in flags)
    return facts


def describe_sampling(settings: GenerationSettings, tokenizer: Tokenizer) -> dict[str, Any]:
    """What is set about the draw, tokens as ids.

    Raises:
        UsageError: a setting names a token that there is not.
    """
    plan = make_plan(settings, tokenizer)
    values = settings.model_dump()
    return {
        **{name: values[name] for name in (*CONTROLS, *NUMBERS)},
        "stop": [*map(tokenizer.unify, settings.stop)],
        "seed": None if settings.seed is None else str(settings.seed),  # may be above 2^53
        "banned": list(plan.banned),
        "bias": [list(pair) for pair in plan.bias],
        "breakers": sorted(plan.breakers),
        "ends": list(plan.ends),
    }


def describe_others(settings: GenerationSettings) -> list[list[Any]]:
    """Name and value of each setting that has an effect on the page and no control there."""
    usual, values = GenerationSettings().model_dump(), settings.model_dump()
    switches = {"xtc_threshold": "xtc_probability"}
    switches |= dict.fromkeys(("dry_base", "dry_allowed_length"), "dry_multiplier")
    return [
        [name, values[name]]
        for name in (*NUMBERS, "bias", "ban", "stop", "allow_unknown")
        if values[name] != usual[name] and values[switches.get(name, name)] != 0
    ]


def list_left_out(settings: GenerationSettings) -> tuple[str, ...]:
    """The settings that change what `generate` writes, and not what the page writes."""
    return tuple(
        name
        for name, has_effect in {"cache": settings.cache > 0, "beams": settings.beams > 1}.items()
        if has_effect
    )


def describe_network(settings: Settings) -> dict[str, Any]:
    """What the weights do not tell of the network."""
    model = settings.model
    layers = range(1, model.num_layers + 1)
    return {
        "residual": [is_residual(model, layer) for layer in layers],
        "normEpsilon": LAYER_NORM_EPSILON,
        "units": model.hidden_units,
    }
