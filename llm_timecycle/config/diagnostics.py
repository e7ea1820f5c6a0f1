"""Every problem with some settings in one message: where, what was received, what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llm_timecycle.config.json_schema import describe_allowed
from llm_timecycle.config.spelling import find_nearest
from llm_timecycle.config.yaml_nodes import Location, Node, Scalar, describe_node, resolve_scalar
from llm_timecycle.errors import ConfigError

MAX_PROBLEMS_SHOWN = 30
BOOLEAN_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: its dotted path, its location, and the explanation."""

    path: str
    location: Location
    explanation: str

    def __str__(self) -> str:
        found = self.location.find_misspelling()
        reason = found.explanation if found and self.location.is_override else found
        hint = f" ({reason})" if reason else ""
        return f"{self.location}: {self.path}: {self.explanation}{hint}"


def combine_problems(problems: Sequence[Problem], origin: str) -> ConfigError:
    """One error that lists every problem, those of the file in the order of its lines."""
    ordered = sorted(
        problems, key=lambda problem: (problem.location.is_override, problem.location.line)
    )
    shown = [f"  {problem}" for problem in ordered[:MAX_PROBLEMS_SHOWN]]
    if len(ordered) > len(shown):
        shown.append(f"  and {len(ordered) - len(shown)} more")
    count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    return ConfigError("\n".join([f"{count} in the settings of {origin}", *shown]))


def explain_wrong_value(node: Node, schema: dict[str, Any], item: int | None) -> str:
    """What was received, what is allowed, and the likely fix.

    Args:
        node: the value that was refused.
        schema: the JSON Schema of its key.
        item: which item of a list it is, counted from 1; None where it is the whole value.
    """
    choices = schema.get("anyOf", [schema])
    if item is not None:
        choices = [choice["items"] for choice in choices if "items" in choice]
        schema = choices[0]
    allowed = describe_allowed(schema)
    received = describe_node(node) if item is None else f"{describe_node(node)} as item {item}"
    remedy = _suggest_value(node, choices)
    if remedy is None and schema.get("default") is not None and _is_null(node):
        remedy = f"leave the line out for {schema['default']}"
    return f"received {received}; expected {allowed}" + (f" ({remedy})" if remedy else "")


def _suggest_value(node: Node, choices: list[dict[str, Any]]) -> str | None:
    if not isinstance(node, Scalar) or node.value is None:
        return None
    kinds = {choice.get("type") for choice in choices}
    if isinstance(node.value, float) and "integer" in kinds and node.value.is_integer():
        return f"write {int(node.value)}"
    if isinstance(node.value, str):
        if "boolean" in kinds and (word := BOOLEAN_WORDS.get(node.value.lower())):
            return f"write {word}"
        for choice in choices:
            if nearest := find_nearest(node.value, choice.get("enum", ())):
                return f"did you mean {nearest}?"
        return _suggest_number(node.value, kinds)
    if "string" in kinds:
        return f"if it is meant as text, {node.location.explain_quotes(node.written)}"
    return None


def _suggest_number(text: str, kinds: set[Any]) -> str | None:
    if not kinds & {"integer", "number"}:
        return None
    decimal_comma = "." if "number" in kinds else ""
    plain = text.strip().replace("_", "").replace(",", decimal_comma)
    value = resolve_scalar(plain)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"write {plain}, without quotes or marks" if is_number else None


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None
