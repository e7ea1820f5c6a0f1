"""What workers must have in common to train one model, and the message where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NAMED_AT_MOST = 8
"""Workers that a message names; of the others, it gives the number."""


@dataclass(frozen=True)
class Fact:
    """A value that is the same for every worker of a job."""

    name: str
    """In a message."""
    advice: str
    """What makes it the same everywhere."""


FACTS = {
    "version": Fact("version", "Install the same version of the program everywhere"),
    "libraries": Fact("libraries", "Install the same packages everywhere"),
    "addresses": Fact("list of addresses", "Give every worker the same list, in the same order"),
    "settings": Fact("settings", "Give every worker the same settings"),
    "resume": Fact("beginning", "Resume the run with every worker, or with none"),
    "corpus": Fact("text", "Put the same text on every machine"),
    "processor": Fact("processor", "Use machines of one kind"),
    "precision": Fact("precision", "Set training.precision, rather than auto"),
}
"""By the key in a hello. Any other key is named as it is."""


def compare_facts(facts: Mapping[int, Mapping[str, str]]) -> str:
    """What differs, from whom, and what to do; "" where nothing does.

    What most workers have counts as right, and where it is a draw, what the first worker has.

    Args:
        facts: of each worker, by its index and the key of the fact.

    >>> chief, other = {"version": "1.2", "corpus": "ab"}, {"version": "1.1", "corpus": "ab"}
    >>> compare_facts({0: chief, 1: other})
    'worker 1 has version 1.1, worker 0 has 1.2. Install the same version of the program everywhere'
    """
    keys = [*FACTS, *sorted({key for each in facts.values() for key in each} - FACTS.keys())]
    return "\n".join(filter(None, (_compare(key, facts) for key in keys)))


def name_workers(indices: Sequence[int], addresses: Sequence[str] = ()) -> str:
    """Workers by index, with their addresses where they are given.

    >>> name_workers([1]), name_workers([0, 2, 3]), name_workers([1], ["a:1", "b:1"])
    ('worker 1', 'workers 0, 2 and 3', 'worker 1 (b:1)')
    """
    named = [f"{i} ({addresses[i]})" if addresses else str(i) for i in indices[:NAMED_AT_MOST]]
    if len(indices) > len(named):
        named.append(f"{len(indices) - len(named):,} more")
    last = named.pop()
    listed = f"{', '.join(named)} and {last}" if named else last
    return f"worker{'s' if len(indices) > 1 else ''} {listed}"


def _compare(key: str, facts: Mapping[int, Mapping[str, str]]) -> str:
    values = {index: facts[index].get(key, "none") for index in sorted(facts)}
    (usual, _), *others = Counter(values.values()).most_common()
    if not others:
        return ""
    fact = FACTS.get(key, Fact(key, "Give every worker the same"))
    right = [index for index, value in values.items() if value == usual]
    differing = [
        f"{name_workers(indices)} {_has(indices)} {fact.name} {value}"
        for value, _ in others
        if (indices := [index for index, each in values.items() if each == value])
    ]
    most = f"{name_workers(right)} {_has(right)} {usual}"
    return f"{', '.join([*differing[:NAMED_AT_MOST], most])}. {fact.advice}"


def _has(indices: Sequence[int]) -> str:
    return "have" if len(indices) > 1 else "has"
