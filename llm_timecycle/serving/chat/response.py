"""The answer to a dialogue: what a completion says, in the form of a message."""

from __future__ import annotations

from typing import Any

from llm_timecycle.serving.completions.request import CompletionRequest
from llm_timecycle.serving.completions.response import Answer
from llm_timecycle.serving.writing.jobs import Job, Update


class ChatAnswer:
    """The answer to one request; white space before its first character is left out.

    Args:
        request: what was asked for.
        job: its texts.
        created_s: now, in seconds since 1970.
    """

    def __init__(self, request: CompletionRequest, job: Job, created_s: int) -> None:
        self._answer = Answer(request, job, created_s)
        self._introduced: set[int] = set()  # choices that have named their role
        self._begun: set[int] = set()  # choices that have shown a character

    def describe_whole(self) -> dict[str, Any]:
        """The answer without a stream, once the job has finished."""
        answer = self._answer.describe_whole()
        choices = []
        for choice in answer["choices"]:
            content = choice.pop("text").lstrip()
            message = {"role": "assistant", "content": content, "refusal": None}
            choices.append({**choice, "message": message})
        return _rename(answer, "chat.completion", choices)

    def describe_update(self, update: Update) -> list[dict[str, Any]]:
        """The chunks of a stream for an update."""
        return [self._describe_chunk(chunk) for chunk in self._answer.describe_update(update)]

    def describe_end(self) -> list[dict[str, Any]]:
        """The chunks after the last text."""
        return [self._describe_chunk(chunk) for chunk in self._answer.describe_end()]

    def _describe_chunk(self, chunk: dict[str, Any]) -> dict[str, Any]:
        choices = []
        for choice in chunk["choices"]:
            index, text = choice["index"], choice.pop("text")
            if index not in self._begun:
                text = text.lstrip()
            if text:
                self._begun.add(index)
            delta = {} if index in self._introduced else {"role": "assistant"}
            self._introduced.add(index)
            if text or delta:
                delta["content"] = text
            choices.append({**choice, "delta": delta})
        return _rename(chunk, "chat.completion.chunk", choices)


def _rename(answer: dict[str, Any], kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {**answer, "id": f"chat{answer['id']}", "object": kind, "choices": choices}
