"""The cycle as a graph: four stages and the edges between them, each with its time as text.

One source for two pictures: a Mermaid flow chart, written here, and the diagram in `charts`.
"""

from __future__ import annotations

from dataclasses import dataclass

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.format import format_duration, format_share
from llm_timecycle.profiling.results import Profile

_ESCAPED = str.maketrans(
    {
        "#": "#35;",
        '"': "#quot;",
        "&": "#amp;",
        "<": "#lt;",
        ">": "#gt;",
        "`": "#96;",
        "\n": " ",
        "\r": " ",
    }
)


@dataclass(frozen=True)
class Node:
    """A stage of the cycle."""

    name: str
    label: str
    time: str
    share: str = ""
    """Of the training step; empty for a stage outside it."""


@dataclass(frozen=True)
class Edge:
    """The way from one stage to the next."""

    start: str
    end: str
    label: str = ""
    time: str = ""
    is_next_round: bool = False


@dataclass(frozen=True)
class CycleGraph:
    """The whole cycle; each edge starts where the one before it ends."""

    title: str
    step: str
    """The time of a step without markers."""
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


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
    step, update = format_duration(cycle.wall.median_s), make_stage("update", "update")
    return CycleGraph(
        title=f"{profile.name}: {step} a step of {cycle.tokens:,} tokens",
        step=step,
        nodes=(
            make_stage("input", "input processing"),
            make_stage("forward", "forward pass"),
            make_stage("backward", "backward pass"),
            Node("output", "generated output", output),
        ),
        edges=(
            Edge("input", "forward"),
            Edge("forward", "backward"),
            Edge("backward", "output", update.label, f"{update.time} ({update.share})"),
            Edge("output", "input", is_next_round=True),
        ),
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
    for edge in graph.edges:
        arrow = "-.->" if edge.is_next_round else "-->"
        label = f'|"{escape(f"{edge.label} {edge.time}")}"|' if edge.label else ""
        lines.append(f"    {edge.start} {arrow}{label} {edge.end}")
    return "\n".join([*lines, "  end"])


def escape(text: str) -> str:
    """Text made safe for a quoted label of Mermaid.

    >>> escape('a "b" <c>')
    'a #quot;b#quot; #lt;c#gt;'
    """
    return text.translate(_ESCAPED)
