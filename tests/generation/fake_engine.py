"""A made-up next-token function in place of a model, and small tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from llm_timecycle.config.settings import GenerationSettings, TokenizerSettings
from llm_timecycle.config.text_settings import Normalization
from llm_timecycle.generation.generator import (
    GeneratedText,
    TextGenerator,
)
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

UNK, EOS = 0, 1


class FakeEngine:
    """An engine whose logits are a function of all the ids that a row has read."""

    def __init__(self, find_logits: Callable[[list[int]], np.ndarray]) -> None:
        self.find_logits = find_logits
        self.rows: list[list[int]] = []
        self.calls: list[tuple[str, list[object]]] = []

    def reset(self) -> None:
        self.rows = []

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        self.calls.append(("prefill", ids.tolist()))
        self.rows = ids.tolist()
        return np.array([self.find_logits(row) for row in self.rows])

    def prefill_each(self, texts: Sequence[np.ndarray]) -> np.ndarray:
        self.calls.append(("prefill_each", [text.tolist() for text in texts]))
        self.rows = [text.tolist() for text in texts]
        return np.array([self.find_logits(row) for row in self.rows])

    def read(self, ids: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def step(self, ids: np.ndarray) -> np.ndarray:
        self.calls.append(("step", ids.tolist()))
        self.rows = [[*row, token] for row, token in zip(self.rows, ids.tolist(), strict=True)]
        return np.array([self.find_logits(row) for row in self.rows])

    def select_rows(self, rows: Sequence[int]) -> None:
        self.rows = [list(self.rows[row]) for row in rows]


def make_tokenizer(
    text: str, level: str = "char", normalize: Normalization = "none", **options: object
) -> Tokenizer:
    settings = TokenizerSettings(level=level, vocab_size=300, **options)
    return Tokenizer.train(settings, [text], normalize=normalize)


def recite(ids: Sequence[int], vocab_size: int) -> FakeEngine:
    """An engine that is sure of the next of `ids`, whatever was sampled, and then of the last one.

    It counts what was read after the prompt, so it is one text's, from its first token.
    """
    engine = FakeEngine(lambda _: np.zeros(vocab_size))

    def find_logits(_: list[int]) -> np.ndarray:
        steps = sum(call == "step" for call, _ in engine.calls)
        logits = np.zeros(vocab_size)
        logits[ids[min(steps, len(ids) - 1)]] = 1000.0
        return logits

    engine.find_logits = find_logits
    return engine


def make_reciter(
    tokenizer: Tokenizer, ids: Sequence[int], **settings: object
) -> tuple[TextGenerator, FakeEngine]:
    engine = recite(ids, tokenizer.vocab_size)
    return TextGenerator(engine, tokenizer, GenerationSettings(**settings)), engine


def generate_one(generator: TextGenerator, prompt: str = "") -> GeneratedText:
    (generated,) = generator.generate(prompt)
    return generated


CHARACTERS = make_tokenizer("abc\n中文")


WORDS = make_tokenizer("the cat sat on the mat\n", "word")


BYTES = make_tokenizer("any", "byte")


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text).tolist()


def find_soft_logits(ids: list[int]) -> np.ndarray:
    """Logits that depend on the whole row, nothing likely enough to be sure."""
    return np.sin(np.arange(CHARACTERS.vocab_size) * (1 + sum(ids)) + len(ids))
