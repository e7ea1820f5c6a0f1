"""A request on its way through the engine thread: its prompts, its texts, its times."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from llm_timecycle.serving.errors import ApiError
from llm_timecycle.serving.writing.written_text import TokenRecord, WritingPlan, WrittenText
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer


class Update(NamedTuple):
    """Something new about a job, for whoever answers it."""

    job: Job
    prompt: int | None = None
    """The prompt that has been read and scored."""
    text: int | None = None
    """The text, by its index, that has tokens more."""
    piece: str = ""
    """What can be sent because of them."""
    ids: tuple[int, ...] = ()
    """Those tokens; one, until updates are joined."""
    record: TokenRecord | None = None
    is_text_finished: bool = False
    """Whether that text has ended."""
    is_finished: bool = False
    """Whether the job has."""
    error: ApiError | None = None
    """What ended it early."""

    def join(self, later: Update) -> Update:
        """This update and a later one of the same text as one; no log-probabilities are kept."""
        return later._replace(piece=self.piece + later.piece, ids=self.ids + later.ids)


@dataclass
class JobTimes:
    """Moments of a job on a monotonic clock, in seconds; None until they come."""

    arrival_s: float
    start_s: float | None = None
    """When the engine begins to read its prompts."""
    first_token_s: float | None = None
    end_s: float | None = None
    token_gaps_s: array[float] = field(default_factory=lambda: array("d"))
    """From each token of a text to the next."""
    step_s: float = 0.0
    """Time in the network, summed over tokens; what a batch shares counts in full."""
    sampling_s: float = 0.0
    """Time in the draw, likewise."""
    text_s: float = 0.0
    """Time in turning tokens into text, likewise."""
    tokens: int = 0

    def describe(self) -> dict[str, Any]:
        """The figures that an answer reports, in milliseconds."""
        begun = self.start_s if self.start_s is not None else self.end_s
        first, end = self.first_token_s, self.end_s
        spent_s = end - first if first is not None and end is not None else 0.0
        gaps = self.token_gaps_s
        steps = max(1, self.tokens)
        return {
            "queue_time_ms": _to_ms(self.arrival_s, begun),
            "prompt_time_ms": _to_ms(begun, first if first is not None else end),
            "time_to_first_token_ms": _to_ms(self.arrival_s, first),
            "mean_itl_ms": statistics.fmean(gaps) * 1000 if gaps else None,
            "tokens_per_second": len(gaps) / spent_s if gaps and spent_s > 0 else None,
            "stages_ms": {
                "step": self.step_s / steps * 1000,
                "sampling": self.sampling_s / steps * 1000,
                "text": self.text_s / steps * 1000,
            },
        }


def _to_ms(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else (end_s - start_s) * 1000


class PromptScores:
    """The log-probabilities of a prompt's own tokens; the first token has none."""

    def __init__(self, ids: np.ndarray, pieces: Sequence[str]) -> None:
        self.records: list[TokenRecord] = []
        self._offset, self._pieces = 0, pieces
        self.add(int(ids[0]), None, ())

    def add(self, id: int, logprob: float | None, top: tuple[tuple[int, float], ...]) -> None:
        """Record the next token."""
        self.records.append(TokenRecord(id, self._offset, logprob, top))
        self._offset += len(self._pieces[len(self.records) - 1])


@dataclass(frozen=True)
class Prompt:
    """A prompt as the model reads it, at least one token."""

    ids: np.ndarray
    text: str
    """What `echo` repeats."""
    pieces: tuple[str, ...] = ()
    """The text of each token; only where the prompt is scored."""


class Job:
    """A request: n texts for each of its prompts.

    Args:
        prompts: what is read.
        n: texts for each prompt.
        plan: how each is written.
        is_scored: whether the log-probabilities of the prompts are wanted too.
        is_streamed: whether every token is reported, or only the end.
        now_s: when the request came.
        put: takes an update; called in the thread of the event loop.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompts: Sequence[Prompt],
        n: int,
        plan: WritingPlan,
        *,
        is_scored: bool = False,
        is_streamed: bool = False,
        now_s: float = 0.0,
        put: Callable[[Update], None] = lambda update: None,
    ) -> None:
        self.prompts, self.n, self.plan = tuple(prompts), n, plan
        self.is_streamed, self.put = is_streamed, put
        self.times = JobTimes(now_s)
        self.texts = [
            WrittenText(tokenizer, plan, prompt.ids, number)
            for prompt in prompts
            for number in range(n)
        ]
        self.scores = [
            PromptScores(prompt.ids, prompt.pieces) if is_scored else None for prompt in prompts
        ]
        self.unfinished = len(self.texts)
        self.is_cancelled = False
        """Set by whoever has no use for the answer any more; the engine thread looks at it."""
