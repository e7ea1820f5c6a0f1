"""The decode loop: logits -> token -> text, again and again, until every text has ended."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, Protocol

import numpy as np

from llm_timecycle.generation.engines.engine import BlockEngine, Engine
from llm_timecycle.generation.latency import GenerationTimes, summarize_times
from llm_timecycle.generation.sample import (
    Sample,
    SampleRequest,
    encode_prompt,
    find_end_id,
)
from llm_timecycle.generation.sampling.history import TextHistory
from llm_timecycle.generation.sampling.pipeline import (
    SamplingPlan,
    check_finite,
    compute_logprobs,
    make_generators,
    rank_tokens,
    sample_tokens,
)
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

BLOCK_TOKENS = 16  # what a block engine decodes before texts are shown, stopped or interrupted
SEED_BYTES = 6  # every JSON reader holds 48 bits exactly

DecodePart = Literal["prefill", "step", "sampling", "decoding"]


class DecodeObserver(Protocol):
    """Notified of the parts of each token; see `profiling.measure.requests`."""

    def begin(self) -> None:
        """Reading the prompt, or making the next token, starts now."""

    def end(self, part: DecodePart) -> None:
        """A part has ended, and the next one starts."""


class _NoObserver:
    def begin(self) -> None:
        pass

    def end(self, part: DecodePart) -> None:
        pass


class Decoder:
    """Decodes one or several texts together; the engine is in use until all have ended.

    Args:
        engine, tokenizer: the model.
        plan: how to sample.
        requests: the texts: for each its prompt, and its number among the samples of the seed.
        with_logprobs: whether to record the log-probability of each token.
        top_logprobs: of how many of the likeliest tokens to record it, at each token.
        is_final: whether text that is held back (half a character, the start of a stop sequence)
            is shown when a text ends; False if the text may be resumed.
        now: a monotonic clock, in seconds.
        observer: notified of every part of every token; a block engine then decodes token by token.

    Attributes:
        seed: the seed of the random draws; drawn itself if the settings leave it open.
        samples: the texts.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        plan: SamplingPlan,
        requests: Sequence[SampleRequest],
        *,
        with_logprobs: bool = False,
        top_logprobs: int = 0,
        is_final: bool = True,
        now: Callable[[], float],
        observer: DecodeObserver | None = None,
    ) -> None:
        self._request_s = now()
        self._engine, self._plan, self._now = engine, plan, now
        self._with_logprobs, self._is_final = with_logprobs, is_final
        self._top_logprobs = top_logprobs
        self._is_observed, self._observer = observer is not None, observer or _NoObserver()
        prompts = {request.prompt: encode_prompt(tokenizer, request.prompt) for request in requests}
        self._prompt_ids = [prompts[request.prompt] for request in requests]
        self._vocab_size, self._end_id = tokenizer.vocab_size, find_end_id(tokenizer)
        seed = plan.settings.seed
        self.seed = int.from_bytes(os.urandom(SEED_BYTES), "big") if seed is None else seed
        self._generators = make_generators(self.seed, [request.number for request in requests])
        self.samples = [Sample(tokenizer, plan.settings, ids) for ids in self._prompt_ids]
        self._unfinished = list(range(len(requests)))  # the sample in each row of the engine
        engine.reset()
        self._observer.begin()
        self._logits: np.ndarray | None = _read_prompts(engine, list(prompts.values()))
        self._observer.end("prefill")
        rows = [list(prompts).index(request.prompt) for request in requests]
        if rows != list(range(len(prompts))):
            engine.select_rows(rows)
            self._logits = self._logits[rows]
        self._last_ids = np.empty(0, np.int64)
        self._counts, self._history = self._count_tokens(), self._make_history()
        self._prompt_end_s = now()
        self._token_ends_s = array("d")
        self._prompt_tokens, self._tokens_before = sum(map(len, prompts.values())), 0

    def advance(self) -> Iterator[None]:
        """Add a token to every unfinished text, then yield, until all texts have ended.

        Raises RunError if the model's logits are not finite.
        """
        engine, observer = self._engine, self._observer
        # A resumable text must continue from its own last token, not from the last of a block.
        in_blocks = self._is_final and not self._is_observed and not self._top_logprobs
        if in_blocks and isinstance(engine, BlockEngine) and engine.can_decode(self._plan):
            while self._unfinished:
                yield from self._advance_block(engine)
        while self._unfinished:
            observer.begin()
            if self._logits is None:
                self._logits = engine.step(self._last_ids)
                observer.end("step")
            ids = self._sample(self._logits)
            observer.end("sampling")
            self._append(ids)
            observer.end("decoding")
            self._token_ends_s.append(self._now())
            self._drop_finished()
            yield

    def read_choices(self) -> np.ndarray:
        """The logits (V,) for the next token of the only text."""
        assert len(self.samples) == 1, "each of several texts has its choices"
        if self._logits is None:
            self._logits = self._engine.step(self._last_ids)
        check_finite(self._logits)
        logits: np.ndarray = self._logits[0]
        return logits

    def choose(self, token: int) -> None:
        """Add a token that was chosen by hand to the only text; after `resume`.

        `advance` continues after it, unless it ends the text.
        """
        logits = self.read_choices()[np.newaxis]
        ids = np.array([token])
        self._note_logprobs(logits, ids)
        self._append(ids)
        self._token_ends_s.append(self._now())
        self._drop_finished()

    def _advance_block(self, engine: BlockEngine) -> Iterator[None]:
        """Add several tokens that the engine samples by itself; their times are averages."""
        start_s, rows = self._now(), list(self._unfinished)
        left = self._plan.settings.length - len(self.samples[rows[0]].ids)
        tokens = min(left, BLOCK_TOKENS)
        block = engine.decode_block(
            np.stack([self._generators[n].random(tokens) for n in rows], axis=1),
            self._plan,
            None if self._counts is None else [self._counts[n] for n in rows],
            with_logprobs=self._with_logprobs,
        )
        token_s = (self._now() - start_s) / tokens
        self._last_ids = block.ids[-1]
        for step, ids in enumerate(block.ids.tolist()):
            self._token_ends_s.append(start_s + (step + 1) * token_s)
            for row, n in enumerate(rows):
                if self.samples[n].finish_reason is None:
                    if block.logprobs is not None:
                        self.samples[n].logprobs.append(float(block.logprobs[step, row]))
                    self._push(n, ids[row])
            yield
            if all(self.samples[n].finish_reason is not None for n in rows):
                break
        self._drop_finished()

    def resume(self, plan: SamplingPlan) -> None:
        """Let the only text continue where it ended, under another plan; then call `advance`."""
        assert len(self.samples) == 1, "the rows of texts that ended earlier are gone"
        self._plan = plan
        self._unfinished = [0]
        self.samples[0].resume(plan.settings)
        self._counts, self._history = self._count_tokens(), self._make_history()
        self._request_s = self._prompt_end_s = self._now()
        self._token_ends_s = array("d")
        self._prompt_tokens, self._tokens_before = 0, len(self.samples[0].ids)

    def measure(self) -> GenerationTimes:
        """The times so far; after `resume`, those since then."""
        return summarize_times(
            self._request_s,
            self._prompt_end_s,
            self._token_ends_s,
            prompt_tokens=self._prompt_tokens,
            tokens=sum(len(sample.ids) for sample in self.samples) - self._tokens_before,
        )

    def _sample(self, logits: np.ndarray) -> np.ndarray:
        """The next token of every unfinished text (B,), from its logits (B, V)."""
        unfinished = self._unfinished
        uniforms = np.array([self._generators[n].random() for n in unfinished])
        counts = None if self._counts is None else [self._counts[n] for n in unfinished]
        ids = sample_tokens(logits, uniforms, self._plan, counts, self._history)
        self._note_logprobs(logits, ids)
        return ids

    def _note_logprobs(self, logits: np.ndarray, ids: np.ndarray) -> None:
        """Record what was asked for about each unfinished text's next token (B,)."""
        if self._with_logprobs:
            logprobs = compute_logprobs(logits, ids).tolist()
            for n, logprob in zip(self._unfinished, logprobs, strict=True):
                self.samples[n].logprobs.append(logprob)
        if self._top_logprobs:
            ranked = rank_tokens(logits, self._top_logprobs)
            for n, tokens, logprobs in zip(self._unfinished, *ranked, strict=True):
                self.samples[n].top_logprobs.append((tokens.tolist(), logprobs.tolist()))

    def _append(self, ids: np.ndarray) -> None:
        """Add a token to every unfinished text (B,)."""
        self._last_ids, self._logits = ids, None
        if self._history is not None:
            self._history.push(ids)
        for n, token in zip(self._unfinished, ids.tolist(), strict=True):
            self._push(n, token)

    def _push(self, n: int, token: int) -> None:
        sample = self.samples[n]
        sample.push(token)
        if self._counts is not None:
            self._counts[n][token] += 1
        if self._is_final and sample.finish_reason is not None:
            sample.flush()

    def _drop_finished(self) -> None:
        """Stop computing the rows of finished texts; those of the last ones stay for `resume`."""
        rows = [
            row for row, n in enumerate(self._unfinished) if self.samples[n].finish_reason is None
        ]
        if len(rows) == len(self._unfinished):
            return
        if rows:
            self._engine.select_rows(rows)
            self._last_ids = self._last_ids[rows]
            if self._history is not None:
                self._history.select_rows(rows)
        self._unfinished = [self._unfinished[row] for row in rows]

    def _count_tokens(self) -> list[np.ndarray] | None:
        """How often each token occurs in the prompt and each text so far, (V,) per text."""
        if not self._plan.counts_tokens:
            return None
        texts = self._list_texts(range(len(self.samples)))
        return [np.bincount(text, minlength=self._vocab_size) for text in texts]

    def _make_history(self) -> TextHistory | None:
        """The unfinished texts, as DRY and no_repeat_ngram see them; None if there is neither."""
        if not self._plan.longest_match:
            return None
        texts = self._list_texts(self._unfinished)
        return TextHistory(texts, self._plan.longest_match, self._plan.breakers)

    def _list_texts(self, samples: Iterable[int]) -> list[list[int]]:
        """Prompt and text so far of each of these samples.

        An `<eos>` in front of a text is not part of it: counted, it would keep a text from ending.
        """
        return [
            [token for token in self._prompt_ids[n].tolist() if token != self._end_id]
            + self.samples[n].ids
            for n in samples
        ]


def _read_prompts(engine: Engine, prompts: Sequence[np.ndarray]) -> np.ndarray:
    """Read each prompt in a row of the engine: the logits (B, V) for the token after it."""
    if len(prompts) == 1:
        return engine.prefill(prompts[0][np.newaxis])
    return engine.prefill_each(prompts)
