"""One text after a prompt, as it grows: its ids, the text to show, and why it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.stop_sequences import StopSequenceFilter
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

FinishReason = Literal["length", "stop", "end_of_text"]


@dataclass(frozen=True)
class SampleRequest:
    """A text that is asked for."""

    prompt: str = ""
    """Any text; an empty one starts a new text, after an <eos>."""
    number: int = 0
    """Which sample of the seed: the same number is the same text, whatever is drawn with it."""


class Sample:
    """One text after a prompt.

    Attributes:
        pieces: the text that each token added, many of them empty.
        ids: all tokens, those of a stop sequence included.
        logprobs: the model's log-probability of each, in nats; empty unless requested.
        top_logprobs: the ids of the likeliest tokens at the place of each, and their
            log-probabilities in nats; empty unless requested.
        finish_reason: why the text ends; None while it grows.
    """

    def __init__(
        self, tokenizer: Tokenizer, settings: GenerationSettings, prompt_ids: np.ndarray
    ) -> None:
        self.pieces: list[str] = []
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.top_logprobs: list[tuple[list[int], list[float]]] = []
        self.finish_reason: FinishReason | None = None
        self._max_tokens = settings.length
        self._end_id = find_end_id(tokenizer)
        self._unify = tokenizer.unify
        self._stop_filter = StopSequenceFilter([*map(self._unify, settings.stop)])
        self._text_stream = tokenizer.stream()
        for token in find_open_line(tokenizer, prompt_ids).tolist():
            self._text_stream.push(token)  # the space before a word depends on the words before it

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    def push(self, token: int) -> None:
        """Add the next token, and the text that can be shown because of it."""
        self.ids.append(token)
        is_end = token == self._end_id
        self.pieces.append("" if is_end else self._stop_filter.push(self._text_stream.push(token)))
        if self._stop_filter.has_stopped:
            self.finish_reason = "stop"
        elif is_end:
            self.finish_reason = "end_of_text"
        elif len(self.ids) == self._max_tokens:
            self.finish_reason = "length"

    def flush(self) -> None:
        """Show the text that was held back, now that no more tokens follow."""
        if self.finish_reason != "stop":
            piece = self._stop_filter.push(self._text_stream.finish())
            if self._stop_filter.has_stopped:
                self.finish_reason = "stop"
            self.pieces[-1] += piece + self._stop_filter.finish()

    def resume(self, settings: GenerationSettings) -> None:
        """Let the text grow by another `settings.length` tokens, under these settings."""
        self.finish_reason = None
        self._max_tokens = len(self.ids) + settings.length
        stops = [*map(self._unify, settings.stop)]
        self._stop_filter = StopSequenceFilter(stops, held=self._stop_filter.finish())


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> np.ndarray:
    """The ids of a prompt (T,), T >= 1.

    One <eos> if the prompt has no token, which begins a text. Where documents are lines, paragraphs
    or records, the model has read each of them after an <eos>: there a prompt, too, begins a
    document.
    """
    ids = tokenizer.encode(prompt)
    if len(ids) and tokenizer.documents == "file":
        return ids
    return np.concatenate([[tokenizer.eos_id], ids])


def find_end_id(tokenizer: Tokenizer) -> int | None:
    """The token that ends a text; None where <eos> is also a line break."""
    return tokenizer.eos_id if tokenizer.does_eos_end_documents else None


def find_open_line(tokenizer: Tokenizer, ids: np.ndarray) -> np.ndarray:
    """The last ids of a prompt, as far as they affect how the next token is written.

    At word level, they are those of the unfinished line, or the last one with the unicode split;
    elsewhere none, because a prompt ends in a complete character.
    """
    if tokenizer.settings.level != "word":
        return ids[:0]
    if tokenizer.settings.word_split == "unicode":
        return ids[-1:]
    breaks = np.flatnonzero(ids == tokenizer.eos_id)
    return ids[breaks[-1] :] if len(breaks) else ids
