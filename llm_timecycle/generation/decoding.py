"""Texts in the making: tokens chosen one after another, shown as text, until it is time to stop."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import numpy as np

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.engines.engine import BlockEngine, Engine
from llm_timecycle.generation.latency import GenerationTimes, summarize_times
from llm_timecycle.generation.sampling.pipeline import (
    SamplingPlan,
    choose_tokens,
    compute_log_probabilities,
    make_generators,
)
from llm_timecycle.generation.stop_sequences import StopSequenceFilter
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

BLOCK_TOKENS = 16  # chosen by an engine of its own accord: shown, stopped, interrupted after those
SEED_BYTES = 6  # what every JSON reader holds exactly

FinishReason = Literal["length", "stop", "end_of_text"]
DecodePart = Literal["prefill", "step", "sampling", "decoding"]


class DecodeObserver(Protocol):
    """Told when the parts of a token begin and end; see `profiling.measure.requests`."""

    def begin(self) -> None:
        """The prompt is about to be read, or the next token to be made."""

    def end(self, part: DecodePart) -> None:
        """A part has ended, and the next one begins."""


class Sample:
    """One text after a prompt.

    Attributes:
        pieces: what each token added to the text, many of them empty.
        ids: every token that was chosen, also those of a stop text.
        log_probabilities: what the model itself said of each, in nats; empty where nobody asked.
        finish_reason: why the text ends, or None while it is being made.
    """

    def __init__(
        self, tokenizer: Tokenizer, settings: GenerationSettings, prompt_ids: np.ndarray
    ) -> None:
        self.pieces: list[str] = []
        self.ids: list[int] = []
        self.log_probabilities: list[float] = []
        self.finish_reason: FinishReason | None = None
        self._most_tokens = settings.length
        self._end_id = find_end_id(tokenizer)
        self._watch = StopSequenceFilter(settings.stop)
        self._decoder = tokenizer.stream()
        for token in find_line_begun(tokenizer, prompt_ids).tolist():
            self._decoder.push(token)  # what a word joins to is part of how it is written

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    def push(self, token: int) -> None:
        """Add the token that was chosen, and the text that it lets be shown."""
        self.ids.append(token)
        is_end = token == self._end_id
        self.pieces.append("" if is_end else self._watch.push(self._decoder.push(token)))
        if self._watch.has_stopped:
            self.finish_reason = "stop"
        elif is_end:
            self.finish_reason = "end_of_text"
        elif len(self.ids) == self._most_tokens:
            self.finish_reason = "length"

    def flush(self) -> None:
        """Show what was held back, now that nothing more will come."""
        if self.finish_reason != "stop":
            piece = self._watch.push(self._decoder.finish())
            if self._watch.has_stopped:
                self.finish_reason = "stop"
            self.pieces[-1] += piece + self._watch.finish()

    def resume(self, settings: GenerationSettings) -> None:
        """Make the text `settings.length` tokens longer, under these settings."""
        self.finish_reason = None
        self._most_tokens = len(self.ids) + settings.length
        self._watch = StopSequenceFilter(settings.stop, held=self._watch.finish())


class Decoder:
    """Texts after one prompt, made side by side; the engine is theirs until they are finished.

    Args:
        engine, tokenizer: the model.
        plan: what choosing goes by.
        prompt: any text; an empty one starts at a text boundary, after an <eos>.
        samples: how many texts. first_sample: the number of the first one: sample i of a seed is
            the same text, whichever are drawn with it.
        with_log_probabilities: whether to note what the model says of each token.
        is_final: whether what is held back (half a character, the beginning of a stop text) is
            shown when a text ends; not so where it may be resumed.
        now: seconds on a clock that never goes back.
        observer: told of every part of every token, which are then made one by one.

    Attributes:
        seed: the one that the draws began from, also where the settings left it open.
        samples: the texts.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        plan: SamplingPlan,
        prompt: str,
        *,
        samples: int = 1,
        first_sample: int = 0,
        with_log_probabilities: bool = False,
        is_final: bool = True,
        now: Callable[[], float],
        observer: DecodeObserver | None = None,
    ) -> None:
        self._request_s = now()
        self._observer = observer
        self._engine, self._plan, self._now = engine, plan, now
        self._with_log_probabilities, self._is_final = with_log_probabilities, is_final
        self._prompt_ids = encode_prompt(tokenizer, prompt)
        self._vocab_size = tokenizer.vocab_size
        seed = plan.settings.seed
        self.seed = int.from_bytes(os.urandom(SEED_BYTES), "big") if seed is None else seed
        self._generators = make_generators(self.seed, samples, first_sample)
        self.samples = [Sample(tokenizer, plan.settings, self._prompt_ids) for _ in range(samples)]
        self._unfinished = list(range(samples))
        engine.reset()
        if observer is not None:
            observer.begin()
        self._logits: np.ndarray | None = engine.prefill(self._prompt_ids[np.newaxis])
        if observer is not None:
            observer.end("prefill")
        if samples > 1:
            engine.select_rows([0] * samples)
            self._logits = np.repeat(self._logits, samples, axis=0)
        self._chosen = np.empty(0, np.int64)
        self._counts = self._count_tokens()
        self._prompt_end_s = now()
        self._token_ends_s = array("d")
        self._read, self._tokens_before = len(self._prompt_ids), 0

    def advance(self) -> Iterator[None]:
        """Give every unfinished text one more token, then yield, until all are finished.

        Raises RunError where the model's logits are not finite.
        """
        engine, observer = self._engine, self._observer
        # A text that may be resumed goes on from its own last token, not from the block's.
        can_block = self._is_final and observer is None
        if can_block and isinstance(engine, BlockEngine) and engine.can_decode(self._plan):
            while self._unfinished:
                yield from self._advance_block(engine)
        while self._unfinished:
            if observer is not None:
                observer.begin()
            if self._logits is None:
                self._logits = engine.step(self._chosen)
                if observer is not None:
                    observer.end("step")
            self._chosen = self._choose(self._logits)
            if observer is not None:
                observer.end("sampling")
            self._logits = None
            for n, token in zip(self._unfinished, self._chosen.tolist(), strict=True):
                self._push(n, token)
            if observer is not None:
                observer.end("decoding")
            self._token_ends_s.append(self._now())
            self._drop_finished()
            yield

    def _advance_block(self, engine: BlockEngine) -> Iterator[None]:
        """Several tokens more, which the engine chooses by itself; their times are averages."""
        start_s, rows = self._now(), list(self._unfinished)
        left = self._plan.settings.length - len(self.samples[rows[0]].ids)
        tokens = min(left, BLOCK_TOKENS)
        block = engine.decode_block(
            np.stack([self._generators[n].random(tokens) for n in rows], axis=1),
            self._plan,
            None if self._counts is None else [self._counts[n] for n in rows],
            with_log_probabilities=self._with_log_probabilities,
        )
        token_s = (self._now() - start_s) / tokens
        self._chosen = block.ids[-1]
        for place, ids in enumerate(block.ids.tolist()):
            self._token_ends_s.append(start_s + (place + 1) * token_s)
            for row, n in enumerate(rows):
                if self.samples[n].finish_reason is None:
                    if block.log_probabilities is not None:
                        said = float(block.log_probabilities[place, row])
                        self.samples[n].log_probabilities.append(said)
                    self._push(n, ids[row])
            yield
            if all(self.samples[n].finish_reason is not None for n in rows):
                break
        self._drop_finished()

    def resume(self, plan: SamplingPlan) -> None:
        """Let the one text go on from where it ended, under another plan; `advance` does it."""
        assert len(self.samples) == 1, "rows of texts that finished earlier are gone"
        self._plan = plan
        self._unfinished = [0]
        self.samples[0].resume(plan.settings)
        self._counts = self._count_tokens()
        self._request_s = self._prompt_end_s = self._now()
        self._token_ends_s = array("d")
        self._read, self._tokens_before = 0, len(self.samples[0].ids)

    def measure(self) -> GenerationTimes:
        """The times so far; after `resume`, those since then."""
        return summarize_times(
            self._request_s,
            self._prompt_end_s,
            self._token_ends_s,
            prompt_tokens=self._read,
            tokens=sum(len(sample.ids) for sample in self.samples) - self._tokens_before,
        )

    def _choose(self, logits: np.ndarray) -> np.ndarray:
        """The next token (B,) of every unfinished text: the one place where tokens are chosen."""
        unfinished = self._unfinished
        uniforms = np.array([self._generators[n].random() for n in unfinished])
        counts = None if self._counts is None else [self._counts[n] for n in unfinished]
        ids = choose_tokens(logits, uniforms, self._plan, counts)
        if self._with_log_probabilities:
            log_probabilities = compute_log_probabilities(logits, ids)
            for n, value in zip(unfinished, log_probabilities.tolist(), strict=True):
                self.samples[n].log_probabilities.append(value)
        return ids

    def _push(self, n: int, token: int) -> None:
        sample = self.samples[n]
        sample.push(token)
        if self._counts is not None:
            self._counts[n][token] += 1
        if self._is_final and sample.finish_reason is not None:
            sample.flush()

    def _drop_finished(self) -> None:
        """Leave the rows of finished texts out of what is computed; the last one's stay."""
        rows = [
            row for row, n in enumerate(self._unfinished) if self.samples[n].finish_reason is None
        ]
        if len(rows) == len(self._unfinished):
            return
        if rows:
            self._engine.select_rows(rows)
            self._chosen = self._chosen[rows]
        self._unfinished = [self._unfinished[row] for row in rows]

    def _count_tokens(self) -> list[np.ndarray] | None:
        """How often each token stands in the prompt and in each text so far, (V,) each."""
        if not self._plan.counts_tokens:
            return None
        return [
            np.bincount([*self._prompt_ids.tolist(), *sample.ids], minlength=self._vocab_size)
            for sample in self.samples
        ]


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> np.ndarray:
    """The ids of a prompt (T,), T >= 1; one <eos> where it holds no token."""
    ids = tokenizer.encode(prompt)
    return ids if len(ids) else np.array([tokenizer.eos_id])


def find_end_id(tokenizer: Tokenizer) -> int | None:
    """The token that ends a text; None at word level, where <eos> is a line break."""
    return None if tokenizer.settings.level == "word" else tokenizer.eos_id


def find_line_begun(tokenizer: Tokenizer, ids: np.ndarray) -> np.ndarray:
    """The end of a prompt's ids that decides how the next token is written.

    At word level, that is the line which the prompt has begun; elsewhere nothing, for the text of
    a prompt ends in a whole character.
    """
    if tokenizer.settings.level != "word":
        return ids[:0]
    breaks = np.flatnonzero(ids == tokenizer.eos_id)
    return ids[breaks[-1] :] if len(breaks) else ids
