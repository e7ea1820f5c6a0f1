"""From a prompt to texts: sampled token by token (`decoding`) or searched for (`beam_search`).

The state of the network is carried from token to token, so each token costs the same, however long
the text has become.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from llm_timecycle.arguments import check_range
from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.beam_search import Hypothesis, search_beams
from llm_timecycle.generation.decoding import Decoder
from llm_timecycle.generation.engines.cached_engine import add_cache
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.latency import GenerationTimes, summarize_times
from llm_timecycle.generation.sample import (
    FinishReason,
    Sample,
    SampleRequest,
    encode_prompt,
    find_end_id,
)
from llm_timecycle.generation.sampling.history import TextHistory
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.text.tokenizer.normalization import explain_forms
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

MOST_UNKNOWN_TOKENS_NAMED = 10
UTF_8_BYTES_AT_MOST = 4  # in one character


class RankedToken(NamedTuple):
    """One of the likeliest tokens at some place."""

    token: str
    """The token, as shown to people."""
    id: int
    """Its id."""
    log_probability: float
    """In nats."""


@dataclass(frozen=True)
class GeneratedText:
    """A continuation of a prompt; `str` and `print` give its text."""

    text: str
    """What follows the prompt; it may begin with a space."""
    ids: tuple[int, ...]
    """All generated tokens, those of a stop sequence included."""
    finish_reason: FinishReason
    """Why it ends: it has `length` tokens, a stop sequence appeared, or the model ended it."""
    log_probabilities: tuple[float, ...] | None = None
    """The model's log-probability of each token in nats, log softmax(logits)[id], before any
    penalty, bias or temperature; None unless requested."""
    top_log_probabilities: tuple[tuple[RankedToken, ...], ...] | None = None
    """The likeliest tokens at the place of each token, the likeliest first, with theirs: from the
    same distribution, so a token that the settings would not allow may be among them; None unless
    requested."""

    def __str__(self) -> str:
        return self.text


class TextGenerator:
    """Continues prompts with an engine, a tokenizer and the settings of `generation`.

    <unk> is generated only with `allow_unknown`. <eos> ends a text, except where it is also
    the line break of a file (`config.text_settings.does_eos_end_documents`). The same seed gives
    the same text, and sample i is the same whatever the number of samples; a seed of None gives a
    new text each time.

    Args:
        engine, tokenizer: the model; an engine serves one request at a time.
        settings: how to sample or search.
        with_logprobs: whether `generate` returns the log-probability of each token.
        top_logprobs: of how many of the likeliest tokens `generate` returns it, at each token.
        now: a monotonic clock, in seconds.

    Attributes:
        times: those of the last text; None before the first.
        seed: the seed of the last text; None after a beam search, which draws nothing.

    Raises:
        UsageError: a token in `ban` or `bias` is not in the vocabulary, or `top_logprobs` does not
            fit the vocabulary or the settings.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        settings: GenerationSettings,
        *,
        with_logprobs: bool = False,
        top_logprobs: int = 0,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine = add_cache(engine, settings)
        self._tokenizer = tokenizer
        self._settings = settings
        self._plan = make_plan(settings, tokenizer)
        check_top_logprobs(top_logprobs, tokenizer.vocab_size, settings.beams)
        self._with_logprobs, self._top_logprobs = with_logprobs, top_logprobs
        self._now = now
        self.times: GenerationTimes | None = None
        self.seed: int | None = None

    def stream(self, prompt: str = "") -> Iterator[str]:
        """The continuation of `prompt`, piece by piece as it grows; whole characters only.

        Joined, the pieces are the `text` that `generate` returns. Text that may become a stop
        sequence is held back until it is clear that it does not.

        Raises:
            RunError: the model's logits are not finite.
            UsageError: `beams` is above 1.
        """
        if self._settings.beams > 1:
            raise UsageError(
                f"a beam search (beams: {self._settings.beams}) cannot stream: its best text is "
                f"only known at the end. Set beams to 1, or do not stream"
            )
        return self._stream(prompt)

    def _stream(self, prompt: str) -> Iterator[str]:
        decoder = self.begin(prompt)
        (sample,) = decoder.samples
        try:
            for _ in decoder.advance():
                if piece := sample.pieces[-1]:
                    yield piece
        finally:
            self.times = decoder.measure()

    def generate(
        self, prompt: str = "", samples: int = 1, after_token: Callable[[], object] = lambda: None
    ) -> list[GeneratedText]:
        """Several continuations of `prompt`, sampled together, or the best ones of a beam search.

        Args:
            prompt: any text; an empty one starts a new text, after an <eos>.
            samples: how many continuations; at most `beams` if that is above 1.
            after_token: called each time every unfinished sample has one more token.

        Raises:
            RunError: the model's logits are not finite.
        """
        if self._settings.beams > 1:
            return self._search(prompt, samples, after_token)
        return self.generate_each(
            [SampleRequest(prompt, number) for number in range(samples)], after_token
        )

    def generate_each(
        self,
        requests: Sequence[SampleRequest],
        after_token: Callable[[], object] = lambda: None,
    ) -> list[GeneratedText]:
        """The texts that are asked for, in the same order, generated together.

        A beam search runs for one after another, and ignores their numbers.

        Args:
            requests: one or more; their prompts may differ in length.
            after_token: called each time every unfinished sample has one more token.

        Raises:
            RunError: the model's logits are not finite.
        """
        if self._settings.beams > 1:
            return [self._search(request.prompt, 1, after_token)[0] for request in requests]
        decoder = self._begin(requests)
        for _ in decoder.advance():
            after_token()
        self.times = decoder.measure()
        return [self._conclude(sample) for sample in decoder.samples]

    def begin(self, prompt: str = "", *, first_sample: int = 0, is_final: bool = True) -> Decoder:
        """Read `prompt`; iterating over the decoder's `advance` makes the continuation."""
        return self._begin([SampleRequest(prompt, first_sample)], is_final)

    def _begin(self, requests: Sequence[SampleRequest], is_final: bool = True) -> Decoder:
        decoder = Decoder(
            self._engine,
            self._tokenizer,
            self._plan,
            requests,
            with_logprobs=self._with_logprobs,
            top_logprobs=self._top_logprobs,
            is_final=is_final,
            now=self._now,
        )
        self.seed = decoder.seed
        return decoder

    def _search(
        self, prompt: str, samples: int, after_token: Callable[[], object]
    ) -> list[GeneratedText]:
        beams = self._settings.beams
        if samples > beams:
            raise UsageError(
                f"samples: received {samples}; expected at most {beams}, the number of beams"
            )
        request_s = self._now()
        prompt_ids = encode_prompt(self._tokenizer, prompt)
        end_id = find_end_id(self._tokenizer)
        token_ends_s = array("d")

        def is_complete(ids: Sequence[int]) -> bool:
            if ids[-1] == end_id:
                return True
            return self._may_stop(ids) and self._replay(prompt_ids, ids).finish_reason == "stop"

        def note_token() -> None:
            token_ends_s.append(self._now())
            after_token()

        self._engine.reset()
        logits = self._engine.prefill(prompt_ids[np.newaxis])
        prompt_end_s = self._now()
        read = [token for token in prompt_ids.tolist() if token != end_id]
        needs_history = self._settings.no_repeat_ngram > 0
        history = TextHistory([read], self._plan.longest_match) if needs_history else None
        found = search_beams(
            self._engine, logits, self._plan, is_complete, note_token, history=history
        )[:samples]
        self.seed = None
        self.times = summarize_times(
            request_s,
            prompt_end_s,
            token_ends_s,
            prompt_tokens=len(prompt_ids),
            tokens=sum(len(hypothesis.ids) for hypothesis in found),
        )
        return [self._conclude_search(prompt_ids, hypothesis) for hypothesis in found]

    def _may_stop(self, ids: Sequence[int]) -> bool:
        """Whether the last token may complete a stop sequence; False is certain.

        Only the end of the text is decoded, and compared without spaces, because the spaces
        between words depend on what comes before that end.
        """
        unified = [*map(self._tokenizer.unify, self._settings.stop)]
        if not unified:
            return False
        # Each token adds a byte or more. One character may be cut at the start of the decoded end,
        # and another may have waited for the last token: two characters more.
        tokens = UTF_8_BYTES_AT_MOST * (max(map(len, unified)) + 2)
        end = self._tokenizer.decode(ids[-tokens:]).replace(" ", "")
        return any(stop.replace(" ", "") in end for stop in unified)

    def _replay(self, prompt_ids: np.ndarray, ids: Sequence[int]) -> Sample:
        """The sample that consists of these tokens."""
        sample = Sample(self._tokenizer, self._settings, prompt_ids)
        for token in ids:
            sample.push(token)
        return sample

    def _conclude_search(self, prompt_ids: np.ndarray, hypothesis: Hypothesis) -> GeneratedText:
        sample = self._replay(prompt_ids, hypothesis.ids)
        sample.logprobs += hypothesis.token_logprobs
        sample.flush()
        return self._conclude(sample)

    def _conclude(self, sample: Sample) -> GeneratedText:
        assert sample.finish_reason is not None, "the text is not finished"
        logprobs = tuple(sample.logprobs) if self._with_logprobs else None
        ranked = None
        if self._top_logprobs:
            ranked = tuple(
                tuple(map(self._show, ids, logprobs)) for ids, logprobs in sample.top_logprobs
            )
        return GeneratedText(sample.text, tuple(sample.ids), sample.finish_reason, logprobs, ranked)

    def _show(self, id: int, logprob: float) -> RankedToken:
        return RankedToken(self._tokenizer.token(id), id, logprob)


def check_top_logprobs(count: int, vocab_size: int, beams: int) -> None:
    """Raise UsageError if the likeliest tokens are to be recorded, and cannot be.

    Args:
        count: how many at each token; 0 records none.
        vocab_size: V.
        beams: `generation.beams`.
    """
    if count == 0:
        return
    remark = ", the number of tokens of this model"
    check_range("top_logprobs", count, 1, vocab_size, remark)
    if beams > 1:
        raise UsageError(
            f"top_logprobs: a beam search (beams: {beams}) does not record them. Set beams to 1, "
            f"or leave top_logprobs out"
        )


def find_unknown_tokens(tokenizer: Tokenizer, prompt: str) -> tuple[int, list[str]]:
    """The number of unknown tokens in a prompt, and the distinct ones in order."""
    count = int(np.count_nonzero(tokenizer.encode(prompt) == tokenizer.unk_id))
    return count, tokenizer.unknown_tokens(prompt) if count else []


def describe_unknown_tokens(tokenizer: Tokenizer, prompt: str) -> str | None:
    """A warning that names the unknown tokens of a prompt; None if there are none."""
    count, unknown = find_unknown_tokens(tokenizer, prompt)
    if count == 0:
        return None
    named = ", ".join(repr(token) for token in unknown[:MOST_UNKNOWN_TOKENS_NAMED])
    if len(unknown) > MOST_UNKNOWN_TOKENS_NAMED:
        named += f" and {len(unknown) - MOST_UNKNOWN_TOKENS_NAMED:,} others"
    tokens = "1 token" if count == 1 else f"{count:,} tokens"
    difference = explain_forms(prompt, lambda text: find_unknown_tokens(tokenizer, text)[0])
    return (
        f"the prompt contains {tokens} that the model does not know and reads as <unk>: {named}"
        + (f". {difference}" if difference else "")
    )
