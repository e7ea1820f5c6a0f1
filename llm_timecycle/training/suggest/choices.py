"""Choices as they are made, each with its reason; what the user has given is never chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llm_timecycle.config.settings import Settings


def write_count(count: int, noun: str) -> str:
    """A number of things whose plural ends in s.

    >>> write_count(1, "line"), write_count(1200, "line")
    ('1 line', '1,200 lines')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@dataclass
class Choices:
    """The settings chosen so far, over those that the user has given."""

    fixed: Settings
    """With what the user gave; all else has its default."""
    given: frozenset[str]
    """The dotted paths of what the user gave."""
    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def choose(self, path: str, value: Any, reason: str) -> Any:
        """The value that will hold: the user's, else `value`, which is then noted."""
        if path in self.given:
            return self.read(path)
        self.values[path], self.reasons[path] = value, reason
        return value

    def read(self, path: str) -> Any:
        """The value that holds as things are."""
        section, _, key = path.partition(".")
        return self.values.get(path, getattr(getattr(self.fixed, section), key))
