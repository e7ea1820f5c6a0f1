"""From a prompt to text, drawn token by token (`generation.decoding`) or searched (`generation.beam_search`).

The state of the network is carried from token to token, so each token costs the same however long
the text has become.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.beam_search import Hypothesis, search_beams
from llm_timecycle.generation.decoding import (
    Decoder,
    FinishReason,
    Sample,
    encode_prompt,
    find_end_id,
)
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.latency import GenerationTimes, summarize_times
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

MOST_UNKNOWN_TOKENS_NAMED = 10
UTF_8_BYTES_AT_MOST = 4  # of one character


@dataclass(frozen=True)
class GeneratedText:
    """A continuation of a prompt; `str` of it, and printing it, give its text."""

    text: str
    """What follows the prompt; it may begin with a space."""
    ids: tuple[int, ...]
    """Every token that was chosen, also those of a stop text."""
    finish_reason: FinishReason
    """Why it ends: `length` tokens were chosen, a stop text appeared, or the model ended it."""
    log_probabilities: tuple[float, ...] | None = None
    """What the model itself said of each token, before any penalty, bias or temperature, in nats:
    log softmax(logits)[id]; None where it was not asked for."""

    def __str__(self) -> str:
        return self.text


class TextGenerator:
    """Continues prompts with an engine, a tokenizer and the settings of `generation`.

    <unk> is never chosen unless `allow_unknown`. <eos> ends a text, except at word level, where it
    is a line break and the text goes on. The same seed gives the same text, and sample i is the
    same however many are drawn; a seed of None gives a new text each time.

    Args:
        engine, tokenizer: the model; the engine does one thing at a time.
        settings: how to choose.
        with_log_probabilities: whether `generate` gives the log-probability of each token.
        now: seconds on a clock that never goes back.

    Attributes:
        times: those of the last text, once there is one.
        seed: the one that its draws began from; None after a beam search, which draws nothing.

    Raises:
        UsageError: a token of `ban` or `bias` is not one of the model's.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        settings: GenerationSettings,
        *,
        with_log_probabilities: bool = False,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._settings = settings
        self._plan = make_plan(settings, tokenizer)
        self._with_log_probabilities = with_log_probabilities
        self._now = now
        self.times: GenerationTimes | None = None
        self.seed: int | None = None

    def stream(self, prompt: str = "") -> Iterator[str]:
        """The continuation of `prompt`, piece by piece as it comes; whole characters only.

        Together the pieces are the `text` that `generate` gives. What may become a stop text is
        held back until it is clear that it does not.

        Raises:
            RunError: the model's logits are not finite.
            UsageError: `beams` is above 1; no text of a beam search is certain before its end.
        """
        if self._settings.beams > 1:
            raise UsageError(
                f"a beam search (beams: {self._settings.beams}) knows no text before its end, so "
                f"none can be shown as it comes: set beams to 1, or do not stream"
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
        """Several continuations of `prompt`, drawn side by side, or the best ones of a beam search.

        Args:
            prompt: any text; an empty one starts at a text boundary, after an <eos>.
            samples: how many continuations; at most `beams` where that is above 1.
            after_token: called each time every unfinished sample has one more token.

        Raises:
            RunError: the model's logits are not finite.
        """
        if self._settings.beams > 1:
            return self._search(prompt, samples, after_token)
        decoder = self.begin(prompt, samples)
        for _ in decoder.advance():
            after_token()
        self.times = decoder.measure()
        return [self._conclude(sample) for sample in decoder.samples]

    def begin(
        self, prompt: str = "", samples: int = 1, *, first_sample: int = 0, is_final: bool = True
    ) -> Decoder:
        """Read `prompt`; the continuations are made as the decoder's `advance` is gone through."""
        decoder = Decoder(
            self._engine,
            self._tokenizer,
            self._plan,
            prompt,
            samples=samples,
            first_sample=first_sample,
            with_log_probabilities=self._with_log_probabilities,
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
                f"samples: received {samples}; a search with {beams} beams finds {beams}"
            )
        request_s = self._now()
        prompt_ids = encode_prompt(self._tokenizer, prompt)
        end_id = find_end_id(self._tokenizer)
        token_ends_s = array("d")

        def is_complete(ids: Sequence[int]) -> bool:
            if ids[-1] == end_id:
                return True
            return self._may_stop(ids) and self._write(prompt_ids, ids).finish_reason == "stop"

        def note_token() -> None:
            token_ends_s.append(self._now())
            after_token()

        self._engine.reset()
        logits = self._engine.prefill(prompt_ids[np.newaxis])
        prompt_end_s = self._now()
        found = search_beams(self._engine, logits, self._plan, is_complete, note_token)[:samples]
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
        """Whether the last token may complete a stop text; False is certain.

        Only the end of the text is decoded. It is compared without spaces, because those between
        words depend on what comes before the end.
        """
        stops = [stop.replace(" ", "") for stop in self._settings.stop]
        if not stops:
            return False
        # Each token writes a byte or more. A character may be cut at the start of what is decoded,
        # and another one may have waited for the last token: twice as many bytes, at most.
        most = UTF_8_BYTES_AT_MOST * (max(map(len, self._settings.stop)) + 2)
        end = self._tokenizer.decode(ids[-most:]).replace(" ", "")
        return any(stop in end for stop in stops)

    def _write(self, prompt_ids: np.ndarray, ids: Sequence[int]) -> Sample:
        """The text that these tokens make, up to where it ends."""
        sample = Sample(self._tokenizer, self._settings, prompt_ids)
        for token in ids:
            sample.push(token)
        return sample

    def _conclude_search(self, prompt_ids: np.ndarray, hypothesis: Hypothesis) -> GeneratedText:
        sample = self._write(prompt_ids, hypothesis.ids)
        sample.log_probabilities += hypothesis.token_log_probabilities
        sample.flush()
        return self._conclude(sample)

    def _conclude(self, sample: Sample) -> GeneratedText:
        assert sample.finish_reason is not None, "the text is still being made"
        said = tuple(sample.log_probabilities) if self._with_log_probabilities else None
        return GeneratedText(sample.text, tuple(sample.ids), sample.finish_reason, said)


def find_unknown_tokens(tokenizer: Tokenizer, prompt: str) -> tuple[int, list[str]]:
    """How many tokens of a prompt the model does not know, and the distinct ones, in order."""
    count = int(np.count_nonzero(tokenizer.encode(prompt) == tokenizer.unk_id))
    return count, tokenizer.unknown_tokens(prompt) if count else []


def describe_unknown_tokens(tokenizer: Tokenizer, prompt: str) -> str | None:
    """A warning that names the tokens of a prompt that the model does not know, or None."""
    count, unknown = find_unknown_tokens(tokenizer, prompt)
    if count == 0:
        return None
    named = ", ".join(repr(token) for token in unknown[:MOST_UNKNOWN_TOKENS_NAMED])
    if len(unknown) > MOST_UNKNOWN_TOKENS_NAMED:
        named += f" and {len(unknown) - MOST_UNKNOWN_TOKENS_NAMED:,} others"
    tokens = "1 token" if count == 1 else f"{count:,} tokens"
    return f"the prompt holds {tokens} that the model does not know and reads as <unk>: {named}"
