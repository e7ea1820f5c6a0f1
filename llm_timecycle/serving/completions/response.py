"""From written texts to the JSON of an answer, whole or in chunks."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from llm_timecycle.serving.completions.request import CompletionRequest
from llm_timecycle.serving.writing.jobs import Job, Update
from llm_timecycle.serving.writing.written_text import TokenRecord

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def write_json(value: object) -> bytes:
    """Compact JSON in UTF-8; half a surrogate pair, which UTF-8 cannot hold, as its escape."""
    return _ENCODER.encode(value).encode("utf-8", "backslashreplace")


class Answer:
    """The answer to one request.

    Args:
        request: what was asked for.
        job: its texts.
        created_s: now, in seconds since 1970.
    """

    def __init__(self, request: CompletionRequest, job: Job, created_s: int) -> None:
        self._request, self._job = request, job
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": created_s,
            "model": request.model.name,
            "system_fingerprint": request.model.fingerprint,
        }

    def describe_whole(self) -> dict[str, Any]:
        """The answer without a stream, once the job has finished."""
        choices = [self._describe_choice(index) for index in range(len(self._job.texts))]
        metrics = {"metrics": self._job.times.describe()} if self._request.includes_metrics else {}
        return {**self._head, "choices": choices, "usage": self.count_usage(), **metrics}

    def count_usage(self) -> dict[str, int]:
        """How many tokens were read and written."""
        prompt = sum(len(each.ids) for each in self._job.prompts)
        written = sum(len(text.ids) for text in self._job.texts)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": written,
            "total_tokens": prompt + written,
        }

    def describe_update(self, update: Update) -> list[dict[str, Any]]:
        """The chunks of a stream for an update, none where there is nothing to send."""
        if update.prompt is not None:
            return self._describe_prompt(update.prompt)
        index = update.text
        assert index is not None
        has_record = update.record is not None
        if not update.piece and not update.is_text_finished and not has_record:
            return [] if not self._request.includes_ids else [self._chunk(index, "", update)]
        return [self._chunk(index, update.piece, update)]

    def describe_end(self) -> list[dict[str, Any]]:
        """The chunks after the last text: token counts and times, where they were asked for."""
        head: dict[str, Any] = {**self._head, "choices": []}
        if self._request.includes_usage:
            head["usage"] = self.count_usage()
        if self._request.includes_metrics:
            head["metrics"] = self._job.times.describe()
        return [head] if len(head) > len(self._head) + 1 else []

    def _describe_prompt(self, number: int) -> list[dict[str, Any]]:
        request, prompt = self._request, self._job.prompts[number]
        if not request.echo and not request.includes_ids:
            return []
        scores = self._job.scores[number]
        indices = range(number * self._job.n, (number + 1) * self._job.n)
        if scores is None:
            text = prompt.text if request.echo else ""
            return [self._make_chunk(index, text, None, prompt.ids.tolist()) for index in indices]
        chunks = []  # one token a chunk
        for index in indices:
            for position, record in enumerate(scores.records):
                ids = prompt.ids.tolist() if position == 0 else None
                logprobs = self._describe_records([record], 0)
                chunks.append(self._make_chunk(index, prompt.pieces[position], logprobs, ids))
        return chunks

    def _chunk(self, index: int, piece: str, update: Update) -> dict[str, Any]:
        text = self._job.texts[index]
        logprobs = None
        if update.record is not None:
            logprobs = self._describe_records([update.record], self._find_start(index))
        chunk = self._make_chunk(index, piece, logprobs)
        (choice,) = chunk["choices"]
        if update.is_text_finished:
            choice["finish_reason"] = text.finish_reason
            choice["stop_reason"] = text.stop_reason
        if self._request.includes_ids:
            choice["token_ids"] = list(update.ids)
        return chunk

    def _make_chunk(
        self,
        index: int,
        text: str,
        logprobs: dict[str, Any] | None,
        prompt_ids: list[int] | None = None,
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": index,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": None,
        }
        if self._request.includes_ids and prompt_ids is not None:
            choice |= {"prompt_token_ids": prompt_ids, "token_ids": []}
        usage = {"usage": None} if self._request.includes_usage else {}
        return {**self._head, "choices": [choice], **usage}

    def _describe_choice(self, index: int) -> dict[str, Any]:
        request, text = self._request, self._job.texts[index]
        number = index // self._job.n
        prompt, scores = self._job.prompts[number], self._job.scores[number]
        logprobs = None
        if request.plan.top_logprobs is not None:
            before = scores.records if scores is not None else []
            logprobs = self._describe_records(before, 0)
            written = self._describe_records(text.records, self._find_start(index))
            for name, values in written.items():
                logprobs[name] += values
        choice = {
            "index": index,
            "text": (prompt.text if request.echo else "") + text.text,
            "logprobs": logprobs,
            "finish_reason": text.finish_reason,
            "stop_reason": text.stop_reason,
        }
        if request.includes_ids:
            choice |= {"prompt_token_ids": prompt.ids.tolist(), "token_ids": text.ids}
        return choice

    def _find_start(self, index: int) -> int:
        """Characters of a choice before its written text."""
        return len(self._job.prompts[index // self._job.n].text) if self._request.echo else 0

    def _describe_records(self, records: Sequence[TokenRecord], start: int) -> dict[str, Any]:
        """The lists of the legacy format, of tokens one after another.

        With ids, `top_token_ids` has the id of each of the likeliest tokens, too.
        """
        show = self._request.model.show_token
        lists: dict[str, Any] = {
            "tokens": [show(record.id) for record in records],
            "token_logprobs": [record.logprob for record in records],
            "top_logprobs": [self._describe_top(record) for record in records],
            "text_offset": [start + record.offset for record in records],
        }
        if self._request.includes_ids:
            lists["top_token_ids"] = [
                {show(id): id for id, _ in (*record.top, (record.id, 0.0))} for record in records
            ]
        return lists

    def _describe_top(self, record: TokenRecord) -> dict[str, float] | None:
        if record.logprob is None:
            return None
        show = self._request.model.show_token
        top = {show(id): logprob for id, logprob in record.top}
        top.setdefault(show(record.id), record.logprob)
        return top
