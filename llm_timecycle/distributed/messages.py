"""The two messages of a hello, as lines of JSON: what a worker says, and what the chief answers.

A line comes from the network, from anybody. It is bounded and becomes short texts and numbers,
nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from llm_timecycle.errors import UsageError, WorkersError
from llm_timecycle.parsing import parse_json

HELLO_BYTES_AT_MOST = 64 << 10
CHARACTERS_AT_MOST = 200
_ENTRIES_AT_MOST = 128

Plan = Mapping[str, str | int]
"""What the chief has decided for all."""


@dataclass(frozen=True)
class Greeting:
    """What a worker says."""

    job: str
    size: int
    index: int
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What the chief answers everybody; one of the three is given."""

    plan: Plan | None = None
    differ: str | None = None
    """Workers cannot train together: what differs, and what to do."""
    missing: str | None = None
    """Who did not come, and what to do."""

    def accept(self) -> Plan:
        """The plan.

        Raises:
            UsageError: workers differ. WorkersError: one did not come.
        """
        if self.differ is not None:
            raise UsageError(self.differ)
        if self.missing is not None:
            raise WorkersError(self.missing)
        return self.plan or {}


def write_line(message: Greeting | Answer) -> bytes:
    """A message as it is sent.

    >>> read_greeting(write_line(Greeting("my", 2, 1, {"version": "1.2"}))).index
    1
    >>> read_answer(write_line(Answer(plan={"threads": 2}))).accept()
    {'threads': 2}
    """
    return json.dumps(asdict(message)).encode() + b"\n"


def read_greeting(line: bytes) -> Greeting:
    """What a line from the network says.

    Raises:
        ValueError: it is no hello.
    """
    content = parse_json(line)
    if not isinstance(content, dict) or content.keys() != {"job", "size", "index", "facts"}:
        raise ValueError("it is no hello")
    job, size, index, facts = (content[key] for key in ("job", "size", "index", "facts"))
    numbers = all(type(number) is int and 0 <= number < 1 << 20 for number in (size, index))
    if not numbers or not _is_text(job) or not isinstance(facts, dict):
        raise ValueError("it is no hello")
    if len(facts) > _ENTRIES_AT_MOST or not all(map(_is_text, (*facts, *facts.values()))):
        raise ValueError("its facts are not short texts")
    return Greeting(job, size, index, facts)


def read_answer(line: bytes) -> Answer:
    """What the chief says.

    Raises:
        ValueError: it is no answer.
    """
    content = parse_json(line)
    if not isinstance(content, dict) or content.keys() != {"plan", "differ", "missing"}:
        raise ValueError("it is no answer")
    plan, *problems = (content[key] for key in ("plan", "differ", "missing"))
    if plan is not None and (not isinstance(plan, dict) or len(plan) > _ENTRIES_AT_MOST):
        raise ValueError("it is no answer")
    if not all(_is_text(value) or type(value) is int for value in (plan or {}).values()):
        raise ValueError("its plan is not texts and numbers")
    given = [value for value in (plan, *problems) if value is not None]
    if len(given) != 1 or not all(isinstance(each, str | None) for each in problems):
        raise ValueError("it is no answer")
    return Answer(plan, *problems)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= CHARACTERS_AT_MOST
