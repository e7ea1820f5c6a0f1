"""From a prompt to text: tokens chosen one after another, shown as text, until it is time to stop.

The state of the network is carried from token to token, so each token costs the same however long
the text has become.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llm_timecycle.config.tree import GenerationSettings
from llm_timecycle.generation.engine import Engine
from llm_timecycle.generation.sampling import choose_tokens, make_generators
from llm_timecycle.generation.stopping import StopWatch
from llm_timecycle.text.tokenizer import Tokenizer

MOST_UNKNOWN_TOKENS_NAMED = 10

FinishReason = Literal["length", "stop", "end_of_text"]


@dataclass(frozen=True)
class GeneratedText:
    """A continuation of a prompt."""

    text: str
    """What follows the prompt; it may begin with a space."""
    ids: tuple[int, ...]
    """Every token that was chosen, also those of a stop text."""
    finish_reason: FinishReason
    """Why it ends: `length` tokens were chosen, a stop text appeared, or the model ended it."""


class TextGenerator:
    """Continues prompts with an engine, a tokenizer and the settings of `generation`.

    <unk> is never chosen. <eos> ends a text, except at word level, where it is a line break and
    the text goes on. The same seed gives the same text, and sample i is the same however many are
    drawn; a seed of None gives a new text each time.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, settings: GenerationSettings) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._settings = settings

    def stream(self, prompt: str = "") -> Iterator[str]:
        """The continuation of `prompt`, piece by piece as it comes; whole characters only.

        Together the pieces are the `text` that `generate` gives. What may become a stop text is
        held back until it is clear that it does not.

        Raises:
            RunError: the model's logits are not finite.
        """
        for samples in self._advance(prompt, 1):
            if piece := samples[0].pieces[-1]:
                yield piece

    def generate(
        self, prompt: str = "", samples: int = 1, after_token: Callable[[], object] = lambda: None
    ) -> list[GeneratedText]:
        """Several continuations of `prompt`, drawn side by side.

        Args:
            prompt: any text; an empty one starts at a text boundary, after an <eos>.
            samples: how many continuations.
            after_token: called each time every unfinished sample has one more token.

        Raises:
            RunError: the model's logits are not finite.
        """
        drawn: list[_Sample] = []
        for now in self._advance(prompt, samples):
            drawn = now
            after_token()
        return [sample.conclude() for sample in drawn]

    def _advance(self, prompt: str, count: int) -> Iterator[list[_Sample]]:
        """The samples, each time the unfinished ones have one more token."""
        settings, tokenizer = self._settings, self._tokenizer
        prompt_ids = self._encode_prompt(prompt)
        samples = [
            _Sample(generator, tokenizer, settings, prompt_ids)
            for generator in make_generators(settings.seed, count)
        ]
        self._engine.reset()
        logits = self._engine.prefill(prompt_ids[np.newaxis])
        self._engine.select_rows([0] * count)
        logits = np.repeat(logits, count, axis=0)
        seen = None
        if settings.repetition_penalty != 1.0:
            seen = np.zeros(logits.shape, np.bool_)
            seen[:, prompt_ids] = True

        unfinished = samples
        while True:
            uniforms = np.array([sample.generator.random() for sample in unfinished])
            ids = choose_tokens(logits, uniforms, settings, banned=[tokenizer.unk_id], seen=seen)
            for sample, chosen in zip(unfinished, ids.tolist(), strict=True):
                sample.push(chosen)
            yield samples
            rows = [n for n, sample in enumerate(unfinished) if sample.finish_reason is None]
            if not rows:
                return
            if seen is not None:
                seen[np.arange(len(ids)), ids] = True
                seen = seen[rows]
            if len(rows) < len(unfinished):
                self._engine.select_rows(rows)
                unfinished, ids = [unfinished[row] for row in rows], ids[rows]
            logits = self._engine.step(ids)

    def _encode_prompt(self, prompt: str) -> np.ndarray:
        """The ids of a prompt (T,), T >= 1; one <eos> where it holds no token."""
        ids = self._tokenizer.encode(prompt)
        return ids if len(ids) else np.array([self._tokenizer.eos_id])


def describe_unknown_tokens(tokenizer: Tokenizer, prompt: str) -> str | None:
    """A warning that names the tokens of a prompt that the model does not know, or None."""
    count = int(np.count_nonzero(tokenizer.encode(prompt) == tokenizer.unk_id))
    if count == 0:
        return None
    unknown = tokenizer.unknown_tokens(prompt)
    named = ", ".join(repr(token) for token in unknown[:MOST_UNKNOWN_TOKENS_NAMED])
    if len(unknown) > MOST_UNKNOWN_TOKENS_NAMED:
        named += f" and {len(unknown) - MOST_UNKNOWN_TOKENS_NAMED:,} others"
    tokens = "1 token" if count == 1 else f"{count:,} tokens"
    return f"the prompt holds {tokens} that the model does not know and reads as <unk>: {named}"


class _Sample:
    """One continuation in the making."""

    def __init__(
        self,
        generator: np.random.Generator,
        tokenizer: Tokenizer,
        settings: GenerationSettings,
        prompt_ids: np.ndarray,
    ) -> None:
        self.generator = generator
        self.pieces: list[str] = []  # one a token, many of them empty
        self.ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self._length = settings.length
        self._end_id = None if tokenizer.settings.level == "word" else tokenizer.eos_id
        self._watch = StopWatch(settings.stop)
        self._decoder = tokenizer.stream()
        for token in prompt_ids.tolist():  # what a word joins to is part of how it is written
            self._decoder.push(token)

    def push(self, token: int) -> None:
        """Add the token that was chosen, and the text that it lets be shown."""
        self.ids.append(token)
        is_end = token == self._end_id
        is_last = is_end or len(self.ids) == self._length
        text = "" if is_end else self._decoder.push(token)
        piece = self._watch.push(text + self._decoder.finish() if is_last else text)
        if self._watch.has_stopped:
            self.finish_reason = "stop"
        elif is_last:
            piece += self._watch.finish()
            self.finish_reason = "end_of_text" if is_end else "length"
        self.pieces.append(piece)

    def conclude(self) -> GeneratedText:
        """The finished text."""
        assert self.finish_reason is not None, "the text is still being made"
        return GeneratedText("".join(self.pieces), tuple(self.ids), self.finish_reason)
