"""One text as it is written: its tokens, the text that can be sent, and why it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from llm_timecycle.generation.sample import find_end_id, find_open_line
from llm_timecycle.generation.sampling.history import TextHistory
from llm_timecycle.generation.sampling.pipeline import SamplingPlan, make_generators
from llm_timecycle.generation.stop_sequences import StopSequenceFilter
from llm_timecycle.text.tokenizer.decode import TextStream
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

UTF_8_BYTES_AT_MOST = 4  # in one character


@dataclass(frozen=True)
class WritingPlan:
    """How a text is written."""

    sampling: SamplingPlan
    """How a token is drawn."""
    early_sampling: SamplingPlan
    """The same for the first `min_tokens`, none of which may end the text."""
    seed: int
    """Of the draws; every text of a request has its number under it."""
    max_tokens: int
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    """Texts before which the text ends."""
    stop_ids: frozenset[int] = frozenset()
    """Tokens before which it ends."""
    top_logprobs: int | None = None
    """How many of the likeliest tokens are recorded; None records no log-probability."""


class TokenRecord(NamedTuple):
    """What is known of one token beside its id."""

    id: int
    offset: int
    """Characters of its text before it."""
    logprob: float | None
    """The model's log-probability in nats; None for a first token, or where none was asked for."""
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens at its place, the likeliest first, with theirs."""


class WrittenText:
    """One text after a prompt.

    Args:
        tokenizer: of the model.
        plan: how it is written.
        prompt_ids: what the model has read.
        number: which of the texts of its prompt it is; with the seed, it decides the draws.

    Attributes:
        ids: its tokens, those of a stop text included.
        finish_reason: why it ended; None while it grows.
        stop_reason: the stop text or the stop token that ended it.
        counts, history: what penalties need of the tokens so far, from `begin` to the end; else
            None.
    """

    def __init__(
        self, tokenizer: Tokenizer, plan: WritingPlan, prompt_ids: np.ndarray, number: int
    ) -> None:
        self.plan = plan
        self.ids: list[int] = []
        self.records: list[TokenRecord] = []
        self.finish_reason: Literal["stop", "length"] | None = None
        self.stop_reason: str | int | None = None
        self._pieces: list[str] = []
        self._length = 0
        self._end_id = find_end_id(tokenizer)
        self._stops = {tokenizer.unify(stop): stop for stop in plan.stop}
        self._filter = StopSequenceFilter([*self._stops])
        self._stream = open_stream(tokenizer, prompt_ids)
        (self._generator,) = make_generators(plan.seed, [number])
        self._prompt_ids, self._vocab_size = prompt_ids, tokenizer.vocab_size
        self.counts: np.ndarray | None = None
        self.history: TextHistory | None = None

    def begin(self) -> None:
        """Make the counts and the history that penalties need, before the first draw.

        They are as large as the prompt, so a text has them only while it is written.
        """
        sampling = self.plan.sampling
        if not (sampling.counts_tokens or sampling.longest_match):
            return
        read = [token for token in self._prompt_ids.tolist() if token != self._end_id]
        if sampling.counts_tokens:
            self.counts = np.bincount(np.array(read, np.int64), minlength=self._vocab_size)
        if sampling.longest_match:
            self.history = TextHistory([read], sampling.longest_match, sampling.breakers)

    @property
    def text(self) -> str:
        """The text that can be shown so far."""
        return "".join(self._pieces)

    @property
    def sampling(self) -> SamplingPlan:
        """How the next token is drawn."""
        is_early = len(self.ids) < self.plan.min_tokens
        return self.plan.early_sampling if is_early else self.plan.sampling

    def draw_uniform(self) -> float:
        """The random number of the next token."""
        return float(self._generator.random())

    def push(
        self, id: int, logprob: float | None = None, top: tuple[tuple[int, float], ...] = ()
    ) -> str:
        """Add a token; returns the text that can be sent because of it."""
        plan = self.plan
        self.ids.append(id)
        if plan.top_logprobs is not None:
            self.records.append(TokenRecord(id, self._length, logprob, top))
        if self.counts is not None:
            self.counts[id] += 1
        if self.history is not None:
            self.history.push(np.array([id]))
        piece = ""
        if id == self._end_id or id in plan.stop_ids:
            self.finish_reason = "stop"
            self.stop_reason = id if id in plan.stop_ids else None
        else:
            piece = self._show(self._stream.push(id))
        if self.finish_reason is None and len(self.ids) >= plan.max_tokens:
            self.finish_reason = "length"
        if self.finish_reason is not None:
            piece += self._flush()
            self.counts = self.history = None
        self._pieces.append(piece)
        return piece

    def finish_empty(self) -> None:
        """End a text of which no token was asked for."""
        self.finish_reason = "length"

    def _show(self, piece: str) -> str:
        self._length += len(piece)
        if len(self.ids) <= self.plan.min_tokens:
            return piece
        shown = self._filter.push(piece)
        self._note_stop()
        return shown

    def _flush(self) -> str:
        """The text that was held back, now that no more tokens follow."""
        if self._filter.has_stopped:
            return ""
        shown = self._filter.push(self._stream.finish())
        self._note_stop()
        return shown + self._filter.finish()

    def _note_stop(self) -> None:
        if self._filter.found is not None:
            self.finish_reason, self.stop_reason = "stop", self._stops[self._filter.found]


def open_stream(tokenizer: Tokenizer, prompt_ids: np.ndarray) -> TextStream:
    """A decoder of what follows a prompt; a character that the prompt has begun is completed."""
    stream = tokenizer.stream()
    tail = find_open_line(tokenizer, prompt_ids)
    if tokenizer.settings.level in ("byte", "subword"):
        tail = prompt_ids[-UTF_8_BYTES_AT_MOST:]
    for id in tail.tolist():
        stream.push(id)
    return stream


def show_token(tokenizer: Tokenizer, id: int) -> str:
    """The text of one token, as a list of tokens in an answer has it.

    It is the token's text; for a part of a character `bytes:` and its bytes as escapes, as
    completions APIs have it; `<eos>` and `<unk>` for these two.
    """
    if id in (tokenizer.unk_id, tokenizer.eos_id):
        return tokenizer.token(id)
    text = tokenizer.decode([id])
    return f"bytes:{tokenizer.token(id)}" if "\ufffd" in text else text
