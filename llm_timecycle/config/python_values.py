"""Settings given in Python: the third kind of source beside a file and an override."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llm_timecycle.arguments import to_plain, write_received
from llm_timecycle.config.diagnostics import Problem
from llm_timecycle.config.sections import list_section_keys
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.sources import Written
from llm_timecycle.config.spelling import suggest_key
from llm_timecycle.config.yaml_nodes import Entries, Items, Location, Node, Scalar


@dataclass(frozen=True)
class PythonValues:
    """Values by dotted path; paths in them are relative to the current directory.

    Attributes:
        values: such as `{"training.epochs": 3}`.
        origin: what messages call them.
    """

    values: Mapping[str, object]
    origin: str

    @classmethod
    def from_settings(cls, settings: Settings, only_given: bool = False) -> PythonValues:
        """All values of a Settings object, or only those that it was made with."""
        sections = settings.model_dump(exclude_unset=only_given)
        return cls(
            {f"{section}.{key}": v for section in sections for key, v in sections[section].items()},
            "Settings",
        )

    def collect(self, written: dict[str, Written], problems: list[Problem]) -> None:
        """Add the values; see `Source`."""
        sections = list_section_keys()
        location = Location(self.origin, [], 1, 1, 1, is_override=True)
        for name, value in self.values.items():
            section, _, key = str(name).partition(".")
            if section not in sections:
                explanation = f"there is no such setting; {suggest_key(str(name), None)}"
            elif key not in sections[section]:
                explanation = f"there is no such setting; {suggest_key(key, section)}"
            elif (node := _build_node(to_plain(value), location)) is None:
                received = write_received(value)
                explanation = f"received {received}; expected a number, a text, a list or None"
            else:
                written[name] = Written(node, location, Path.cwd())
                continue
            problems.append(Problem(str(name), location, explanation))


def _build_node(value: object, location: Location) -> Node | None:
    """A plain value as a node; None for what no setting can be."""
    if isinstance(value, list):
        nodes = [_build_node(item, location) for item in value]
        right = [node for node in nodes if node is not None]
        return Items(location, right) if len(right) == len(nodes) else None
    if isinstance(value, dict):
        pairs = [(_build_node(k, location), _build_node(v, location)) for k, v in value.items()]
        known = [(key, node) for key, node in pairs if key is not None and node is not None]
        return Entries(location, known) if len(known) == len(pairs) else None
    if value is None or isinstance(value, (bool, str, int, float)):
        return Scalar(location, value, write_received(value))
    return None
