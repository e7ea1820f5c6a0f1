"""The cycle as a graph: four stages, each with its time as text, and the update between two.

One source for two pictures: a Mermaid flow chart, written here, and the diagram in `charts`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from html.entities import codepoint2name

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.format import format_duration, format_share
from llm_timecycle.profiling.results import Profile

UPDATED = "backward"  # the update follows this stage
_ENTITIES = {ord(c): f"#{codepoint2name.get(ord(c), ord(c))};" for c in '#"&<>`'}
_ESCAPED = {**_ENTITIES, ord("\n"): " ", ord("\r"): " "}


@dataclass(frozen=True)
class Node:
    """A stage of the cycle."""

    name: str
    label: str
    time: str
    share: str = ""
    """Of the training step; empty for a stage outside it."""


@dataclass(frozen=True)
class CycleGraph:
    """The whole cycle: each stage leads to the next, and the last to the first one again."""

    title: str
    step: str
    """The time of a step without markers."""
    nodes: tuple[Node, ...]
    update: Node
    """Not a stage of the cycle: it lies on the way from `UPDATED` to the next stage."""


def describe_cycle(profile: Profile) -> CycleGraph:
    """The cycle of a profile, with median times.

    Raises:
        UsageError: the profile has no training times.
    """
    cycle, inference = profile.training, profile.inference
    if cycle is None:
        raise UsageError("the cycle: expected a profile with training times, received one without.")

    def make_stage(stage: str, label: str) -> Node:
        time = format_duration(cycle.stages[stage].median_s)
        return Node(stage, label, time, format_share(cycle.share(stage)))

    output = "not measured"
    if inference is not None:
        output = f"{format_duration(inference.per_output_token.median_s)} a token"
    step = format_duration(cycle.wall.median_s)
    return CycleGraph(
        title=f"{profile.name}: {step} a step of {cycle.tokens:,} tokens",
        step=step,
        nodes=(
            make_stage("input", "input processing"),
            make_stage("forward", "forward pass"),
            make_stage("backward", "backward pass"),
            Node("output", "generated output", output),
        ),
        update=make_stage("update", "update"),
    )


def write_mermaid(profile: Profile) -> str:
    """A `flowchart LR` whose nodes are the stages, each with its median time and share.

    Raises:
        UsageError: the profile has no training times.
    """
    graph = describe_cycle(profile)
    lines = ["flowchart LR", f'  subgraph cycle["{escape(graph.title)}"]']
    for node in graph.nodes:
        time = f"{node.time} ({node.share})" if node.share else node.time
        lines.append(f'    {node.name}["{escape(node.label)}<br/>{escape(time)}"]')
    update, names = graph.update, [node.name for node in graph.nodes]
    label = escape(f"{update.label} {update.time} ({update.share})")
    for start, end in itertools.pairwise(names):
        lines.append(f"    {start} -->" + f'|"{label}"|' * (start == UPDATED) + f" {end}")
    lines.append(f"    {names[-1]} -.-> {names[0]}")
    return "\n".join([*lines, "  end"])


def escape(text: str) -> str:
    """Text made safe for a quoted label of Mermaid.

    >>> escape('a "b" <c>')
    'a #quot;b#quot; #lt;c#gt;'
    """
    return text.translate(_ESCAPED)
