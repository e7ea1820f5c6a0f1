"""Texts of the model for its card: as it writes them, none chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

SAMPLES, SEED = 3, 1
MOST_TOKENS = {"char": 500, "byte": 500, "subword": 200, "word": 150}
"""Of a sample, by level: a paragraph."""


@dataclass(frozen=True)
class Samples:
    """Texts, and the command that makes them again in the exported folder."""

    texts: tuple[str, ...]
    command: str


def draw_samples(
    run: Run, weights: Mapping[str, np.ndarray], tokenizer: Tokenizer
) -> Samples | None:
    """Texts without a prompt, with the run's settings; None where these do not suit the vocabulary.

    Raises:
        RunError: the model's logits are not finite.
    """
    generation = run.settings.generation
    length = min(generation.length, MOST_TOKENS[run.settings.tokenizer.level])
    changes: dict[str, int] = {"length": length}
    count, seed = min(SAMPLES, generation.beams), ""
    if generation.beams == 1:  # a beam search draws nothing
        changes["seed"] = SEED if generation.seed is None else generation.seed
        count, seed = SAMPLES, f" --seed {changes['seed']}"
    engine = NumpyEngine(weights, run.settings.model)
    settings = generation.model_copy(update=changes)
    try:
        texts = TextGenerator(engine, tokenizer, settings).generate("", count)
    except UsageError:  # a token to ban or to favour is not in the vocabulary
        return None
    command = f"llm-timecycle generate . --samples {count} --length {length}{seed}"
    return Samples(tuple(text.text for text in texts), command)
