"""Prompts that are being read, a window at a time, all that wait together.

A window is as long as the clock allows, not a number of tokens: what was measured in one decides
the length of the next, so that those who are writing wait equally long for it with a small model
and with a large one, on a slow machine and on a fast one.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.engines.row_states import RowStates
from llm_timecycle.generation.sampling.pipeline import check_finite, compute_logprobs, rank_tokens
from llm_timecycle.serving.writing.jobs import Job, PromptScores

FIRST_WINDOW = 16  # tokens of a row, before anything is measured
SCORED_AT_MOST = 64  # tokens of a window whose logits are all in memory


class Reading:
    """A prompt that is being read, and the texts that wait for its end."""

    def __init__(self, job: Job, number: int) -> None:
        self.job, self.number = job, number
        self.ids = job.prompts[number].ids
        self.position = 0
        self.states: RowStates | None = None
        self.logits: np.ndarray | None = None  # (1, V) after the last token
        self.scores: PromptScores | None = job.scores[number]
        first = number * job.n
        self.waiting = deque(range(first, first + job.n))  # the texts, by index

    @property
    def left(self) -> int:
        """Tokens that are not read yet."""
        return len(self.ids) - self.position


class Pace:
    """The length of windows that take about a given time, from what the last one took.

    More rows take longer, though not more than in proportion.

    >>> pace = Pace()
    >>> pace.note(rows=2, tokens=10, wall_s=0.01)
    >>> [pace.count_tokens(rows, within_s=0.02) for rows in (1, 2, 8)]
    [20, 20, 5]
    """

    def __init__(self) -> None:
        self._rows, self._token_s = 1.0, 0.0

    def count_tokens(self, rows: int, within_s: float) -> int:
        """How many tokens each of `rows` rows can read within `within_s`, at least one."""
        if self._token_s == 0.0:
            return FIRST_WINDOW
        return max(1, int(within_s / (self._token_s * max(1.0, rows / self._rows))))

    def note(self, rows: float, tokens: int, wall_s: float) -> None:
        """Learn from a window of `tokens` tokens, in which `rows` rows were read on average."""
        self._rows, self._token_s = rows, wall_s / tokens


class PromptReader:
    """The prompts that are being read.

    Args:
        engine: the model; whoever has states in it takes them out before `read_window`.
        now: a monotonic clock, in seconds.
    """

    def __init__(self, engine: NumpyEngine, now: Callable[[], float]) -> None:
        self._engine, self._now = engine, now
        self.readings: list[Reading] = []
        self._pace, self._scoring_pace = Pace(), Pace()

    def read_window(self, within_s: float) -> list[Reading]:
        """Read some prompts further, in about `within_s`; those that are read to their end."""
        group = self._choose()
        is_scored = group[0].scores is not None
        pace, most = (
            (self._scoring_pace, SCORED_AT_MOST) if is_scored else (self._pace, sys.maxsize)
        )
        T = min(most, group[0].left, pace.count_tokens(len(group), within_s))
        windows = [reading.ids[reading.position : reading.position + T] for reading in group]
        start_s = self._now()
        self._read(group, windows)
        pace.note(sum(map(len, windows)) / T, T, self._now() - start_s)
        waiting = [reading for reading in self.readings if reading not in group]
        self.readings = [*waiting, *(reading for reading in group if reading.left)]
        return [reading for reading in group if not reading.left]

    def _choose(self) -> list[Reading]:
        """Those that are read next, the longest first: all, or one whose tokens are scored.

        The two kinds take turns, because those that have been read go behind the others.
        """
        first = self.readings[0]
        if first.scores is not None:
            return [first]
        group = [reading for reading in self.readings if reading.scores is None]
        return sorted(group, key=lambda reading: -reading.left)

    def _read(self, group: Sequence[Reading], windows: Sequence[np.ndarray]) -> None:
        engine, first = self._engine, group[0]
        if any(reading.states is not None for reading in group):
            nothing = engine.make_zero_states(1)
            engine.give_states(
                RowStates.join([nothing if r.states is None else r.states for r in group])
            )
        logits = None
        if first.scores is not None:
            (each,) = engine.read(windows[0][np.newaxis])
            _score(first, each)
            logits = each[np.newaxis, -1]
        else:
            engine.extend(windows)
            if any(reading.left == len(ids) for reading, ids in zip(group, windows, strict=True)):
                logits = engine.compute_logits()
        after = engine.take_states()
        for row, (reading, ids) in enumerate(zip(group, windows, strict=True)):
            reading.position += len(ids)
            reading.states = after.select([row])
            if logits is not None and not reading.left:
                reading.logits = logits[[row]]


def _score(reading: Reading, logits: np.ndarray) -> None:
    """Record the tokens after each of a window, from the logits (T, V)."""
    assert reading.scores is not None
    start = reading.position + 1
    ids = reading.ids[start : start + len(logits)]
    logits = logits[: len(ids)]
    if not len(ids):
        return
    check_finite(logits)
    logprobs = compute_logprobs(logits, ids).tolist()
    tops = rank_likeliest(logits, reading.job.plan.top_logprobs or 0)
    for id, logprob, top in zip(ids.tolist(), logprobs, tops, strict=True):
        reading.scores.add(id, logprob, top)


def rank_likeliest(logits: np.ndarray, n: int) -> Iterable[tuple[tuple[int, float], ...]]:
    """The n likeliest tokens of each row (B, V), with their log-probabilities."""
    if n == 0:
        return [()] * len(logits)
    ids, logprobs = rank_tokens(logits, min(n, logits.shape[1]))
    return [
        tuple(zip(*each, strict=True)) for each in zip(ids.tolist(), logprobs.tolist(), strict=True)
    ]
