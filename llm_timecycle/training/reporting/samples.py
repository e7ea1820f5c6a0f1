"""`samples.txt`: what the model writes after each validation, with the weights of the moment."""

from __future__ import annotations

import logging

import keras

from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.model.network import read_parameters
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

log = logging.getLogger("llm_timecycle")

MOST_TOKENS = 160
"""Of a sample: two lines of a terminal in characters. With 2 x 512 units it takes 0.2 s."""


class Sampler:
    """Generates a text of its own with the weights of a network, as `generate` does.

    The settings are those of `generation`, but for the length and the seed: a resumed run writes
    the same samples. A beam search becomes sampling.

    Args:
        settings: of the run. tokenizer: of the run.
    """

    def __init__(self, settings: Settings, tokenizer: Tokenizer) -> None:
        generation, seed = settings.generation, settings.training.seed
        length = min(generation.length, MOST_TOKENS)
        changes = {"length": length, "seed": seed, "beams": 1}
        self._model, self._tokenizer = settings.model, tokenizer
        self._generation = generation.model_copy(update=changes)
        self._is_able = True

    def sample(self, network: keras.Model) -> str | None:
        """A text; None where the settings of `generation` do not suit the vocabulary.

        Nothing that goes wrong here ends a training; a log line says what it was, once.
        """
        if not self._is_able:
            return None
        engine = NumpyEngine(read_parameters(network), self._model)
        try:
            generator = TextGenerator(engine, self._tokenizer, self._generation)
            (text,) = generator.generate()
        except UsageError as error:  # a token to ban or to favour is not in the vocabulary
            self._is_able = False
            log.warning("no samples are written to samples.txt: %s", error)
            return None
        except RunError:  # the logits are not finite: the next step will say so
            return None
        return text.text


def write_entry(heading: str, text: str) -> str:
    """An entry of samples.txt.

    >>> print(write_entry("step 5", " Once upon\\n"), end="")
    === step 5
    Once upon
    <BLANKLINE>
    """
    return f"=== {heading}\n{text.strip()}\n\n"
