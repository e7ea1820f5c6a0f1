"""Continuous batching: texts join the batch at the next token, and leave it when they end.

`advance` is one turn: prompts are read a window further, then every text gets a token. A window is
short while texts are being written, so that a long prompt does not hold them up. The logits of a
row do not depend on the rows beside it (see `numpy_engine`), and each text has random numbers that
depend on its seed alone, so a text is the same alone and in company.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.engines.row_states import RowStates
from llm_timecycle.generation.sampling.pipeline import (
    SamplingPlan,
    check_finite,
    compute_logprobs,
    sample_tokens,
)
from llm_timecycle.serving.writing.jobs import Job, Update
from llm_timecycle.serving.writing.prompts import PromptReader, Reading, rank_likeliest
from llm_timecycle.serving.writing.written_text import WrittenText

WINDOW_S = 0.02  # for which prompts are read between two tokens of those who are writing
WINDOW_ALONE_S = 0.1  # while nobody is
ARRIVAL_WINDOW_S = 0.005  # where a prompt has just come: those that come with it can catch up


class _Row(NamedTuple):
    """A text in the batch."""

    job: Job
    number: int
    token_s: list[float]
    """The time of its last token, in one place."""

    @property
    def text(self) -> WrittenText:
        return self.job.texts[self.number]


class Batch:
    """The texts that one model is writing.

    Args:
        engine: the model; it belongs to the batch.
        max_rows: the most texts that are written at once.
        now: a monotonic clock, in seconds.
    """

    def __init__(self, engine: NumpyEngine, max_rows: int, now: Callable[[], float]) -> None:
        self._engine, self._max_rows, self._now = engine, max_rows, now
        self._queue: deque[Reading] = deque()
        self._reader = PromptReader(engine, now)
        self._ready: deque[Reading] = deque()
        self._rows: list[_Row] = []
        self._updates: list[Update] = []

    @property
    def has_work(self) -> bool:
        """Whether `advance` would do something."""
        return bool(self._queue or self._reader.readings or self._ready or self._rows)

    @property
    def rows(self) -> int:
        """How many texts are being written."""
        return len(self._rows)

    def add(self, job: Job) -> None:
        """Queue a job; its prompts are read as rows become free."""
        self._queue.extend(Reading(job, number) for number in range(len(job.prompts)))

    def list_jobs(self) -> list[Job]:
        """Every job that is not finished, in the order of arrival as far as it is known."""
        readings = (*self._ready, *self._reader.readings, *self._queue)
        jobs = [row.job for row in self._rows] + [reading.job for reading in readings]
        return list(dict.fromkeys(jobs))

    def clear(self) -> None:
        """Forget everything, after an error or at the end."""
        self._queue.clear()
        self._reader.readings, self._rows, self._updates = [], [], []
        self._ready.clear()
        self._engine.reset()

    def advance(self) -> list[Update]:
        """Read a window of prompts, add a token to every text; what there is to report.

        Raises RunError if the model's logits are not finite.
        """
        self._drop_cancelled()
        has_come = self._admit()
        if self._reader.readings or self._can_join():
            held = self._engine.take_states() if self._rows else None
            if self._reader.readings:
                self._read_window(has_come)
            joining = self._join_ready()
            parts = [part for part in (held, *joining) if part is not None]
            if parts:
                self._engine.give_states(parts[0] if len(parts) == 1 else RowStates.join(parts))
        if self._rows:
            self._step()
        updates, self._updates = self._updates, []
        return updates

    def _drop_cancelled(self) -> None:
        self._queue = deque(r for r in self._queue if not r.job.is_cancelled)
        self._ready = deque(r for r in self._ready if not r.job.is_cancelled)
        reader = self._reader
        reader.readings = [r for r in reader.readings if not r.job.is_cancelled]
        self._keep([not row.job.is_cancelled for row in self._rows])

    def _keep(self, kept: Sequence[bool]) -> None:
        """Drop the rows that are not kept."""
        if all(kept):
            return
        rows = [row for row, is_kept in enumerate(kept) if is_kept]
        if rows:
            self._engine.select_rows(rows)
        else:
            self._engine.reset()
        self._rows = [self._rows[row] for row in rows]

    def _admit(self) -> bool:
        """Begin to read prompts for which there are rows; whether there are any."""
        now_s, before = self._now(), len(self._queue)
        while self._queue and self._count_taken() < self._max_rows:
            reading = self._queue.popleft()
            if reading.job.times.start_s is None:
                reading.job.times.start_s = now_s
            self._reader.readings.append(reading)
        return len(self._queue) < before

    def _count_taken(self) -> int:
        return len(self._rows) + len(self._reader.readings) + len(self._ready)

    def _can_join(self) -> bool:
        return bool(self._ready) and len(self._rows) < self._max_rows

    def _read_window(self, has_come: bool) -> None:
        """Read some prompts further; those that are done become ready."""
        within_s = WINDOW_S if self._rows else WINDOW_ALONE_S
        for reading in self._reader.read_window(ARRIVAL_WINDOW_S if has_come else within_s):
            self._ready.append(reading)
            if reading.job.is_streamed:
                self._updates.append(Update(reading.job, prompt=reading.number))

    def _join_ready(self) -> list[RowStates]:
        """Give the first token to texts whose prompt is read; the states of those that go on."""
        free = self._max_rows - len(self._rows)
        rows: list[_Row] = []
        logits: list[np.ndarray] = []
        states: list[RowStates] = []
        while self._ready:
            reading = self._ready[0]
            if reading.job.plan.max_tokens == 0:
                self._finish_unwritten(reading)
                reading.waiting.clear()
            assert reading.logits is not None
            assert reading.states is not None
            while reading.waiting and len(rows) < free:
                rows.append(_Row(reading.job, reading.waiting.popleft(), [0.0]))
                rows[-1].text.begin()
                logits.append(reading.logits)
                states.append(reading.states)
            if reading.waiting:
                break
            self._ready.popleft()
        if not rows:
            return []
        before, self._rows = self._rows, self._rows + rows  # all are listed if an error comes
        is_going_on = self._write(rows, np.concatenate(logits))
        new = [row for row, goes_on in zip(rows, is_going_on, strict=True) if goes_on]
        self._rows = before + new
        return [each for each, goes_on in zip(states, is_going_on, strict=True) if goes_on]

    def _finish_unwritten(self, reading: Reading) -> None:
        job, now_s = reading.job, self._now()
        for index in reading.waiting:
            job.texts[index].finish_empty()
            self._note_end(job, now_s)
            is_end = job.unfinished == 0
            self._updates.append(Update(job, None, index, "", (), None, True, is_end))

    def _step(self) -> None:
        """One more token for every row."""
        start_s = self._now()
        logits = self._engine.step(np.array([row.text.ids[-1] for row in self._rows]))
        step_s = self._now() - start_s
        for job in {row.job: None for row in self._rows}:
            job.times.step_s += step_s
        self._keep(self._write(self._rows, logits))

    def _write(self, rows: Sequence[_Row], logits: np.ndarray) -> list[bool]:
        """Draw and add a token for each row (B, V); whether each text goes on."""
        check_finite(logits)
        start_s = self._now()
        ids = self._sample([row.text for row in rows], logits)
        records = self._record(rows, logits, ids)
        drawn_s = self._now()
        for row, id, (logprob, top) in zip(rows, ids.tolist(), records, strict=True):
            self._push(row, id, logprob, top, drawn_s)
        end_s = self._now()
        for job in {row.job: None for row in rows}:
            job.times.sampling_s += drawn_s - start_s
            job.times.text_s += end_s - drawn_s
            job.times.tokens += 1
        return [row.text.finish_reason is None for row in rows]

    def _push(
        self,
        row: _Row,
        id: int,
        logprob: float | None,
        top: tuple[tuple[int, float], ...],
        now_s: float,
    ) -> None:
        job, text = row.job, row.text
        piece = text.push(id, logprob, top)
        if len(text.ids) > 1:
            job.times.token_gaps_s.append(now_s - row.token_s[0])
        row.token_s[0] = now_s
        if job.times.first_token_s is None:
            job.times.first_token_s = now_s
        is_end = text.finish_reason is not None
        if is_end:
            self._note_end(job, now_s)
        is_job_end = job.unfinished == 0
        if job.is_streamed or is_job_end:
            record = text.records[-1] if text.records else None
            self._updates.append(
                Update(job, None, row.number, piece, (id,), record, is_end, is_job_end)
            )

    def _note_end(self, job: Job, now_s: float) -> None:
        job.unfinished -= 1
        if job.unfinished == 0:
            job.times.end_s = now_s

    def _sample(self, texts: Sequence[WrittenText], logits: np.ndarray) -> np.ndarray:
        """The next token of each text (B,); those with equal plans are drawn together."""
        uniforms = np.array([text.draw_uniform() for text in texts])
        groups: dict[int, list[int]] = {}
        plans: dict[int, SamplingPlan] = {}
        for row, text in enumerate(texts):
            plan = text.sampling
            is_alone = text.counts is not None or text.history is not None
            key = -1 - row if is_alone else id(plan)
            groups.setdefault(key, []).append(row)
            plans[key] = plan
        ids = np.empty(len(texts), np.int64)
        for key, rows in groups.items():
            first = texts[rows[0]]
            ids[rows] = sample_tokens(
                logits[rows] if len(rows) < len(texts) else logits,
                uniforms[rows],
                plans[key],
                None if first.counts is None else [first.counts],
                first.history,
            )
        return ids

    def _record(
        self, rows: Sequence[_Row], logits: np.ndarray, ids: np.ndarray
    ) -> list[tuple[float | None, tuple[tuple[int, float], ...]]]:
        """What was asked for about each row's token: its log-probability, and the likeliest."""
        records: list[tuple[float | None, tuple[tuple[int, float], ...]]] = [(None, ())] * len(rows)
        for row, place in enumerate(rows):
            asked = place.text.plan.top_logprobs
            if asked is not None:
                (logprob,) = compute_logprobs(logits[[row]], ids[[row]]).tolist()
                (top,) = rank_likeliest(logits[[row]], asked)
                records[row] = logprob, top
        return records
