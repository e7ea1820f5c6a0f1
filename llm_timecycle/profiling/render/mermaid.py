"""The cycle as a Mermaid flow chart, to paste into a README: four stages with their times."""

from __future__ import annotations

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


def write_mermaid(profile: Profile) -> str:
    """A `flowchart LR` whose nodes are the stages, each with its median time and share.

    Raises:
        UsageError: the profile has no training times.
    """
    cycle = profile.training
    if cycle is None:
        raise UsageError("mermaid: expected a profile with training times, received one without.")

    def show(stage: str) -> str:
        time = format_duration(cycle.stages[stage].median_s)
        return f"{time} ({format_share(cycle.share(stage))})"

    inference = profile.inference
    output = (
        "not measured"
        if inference is None
        else f"{format_duration(inference.per_output_token.median_s)} a token"
    )
    step = format_duration(cycle.wall.median_s)
    title = f"{profile.name}: {step} a step of {cycle.tokens:,} tokens"
    nodes = {
        "input": ("input processing", show("input")),
        "forward": ("forward pass", show("forward")),
        "backward": ("backward pass", show("backward")),
        "output": ("generated output", output),
    }
    lines = ["flowchart LR", f'  subgraph cycle["{escape(title)}"]']
    lines += [
        f'    {name}["{escape(label)}<br/>{escape(time)}"]' for name, (label, time) in nodes.items()
    ]
    lines += [
        "    input --> forward",
        "    forward --> backward",
        f'    backward -->|"{escape("update " + show("update"))}"| output',
        "    output -.-> input",
        "  end",
    ]
    return "\n".join(lines)


def escape(text: str) -> str:
    """Text as it may stand in a quoted label of Mermaid.

    >>> escape('a "b" <c>')
    'a #quot;b#quot; #lt;c#gt;'
    """
    return text.translate(_ESCAPED)
