"""The cycle as a graph and as Mermaid: nodes, times, syntax, and labels that cannot break out."""

from __future__ import annotations

import re

import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.render.cycle import describe_cycle, write_mermaid
from tests.profiling.profiles import make_profile

NODE = re.compile(r'    (\w+)\["([^"]*)"\]')
EDGE = re.compile(r'    (\w+) (?:-->|-\.->)(?:\|"[^"]*"\|)? (\w+)')


def test_the_four_stages_go_round_with_their_times() -> None:
    first, frame, *body, end = write_mermaid(make_profile()).splitlines()
    assert first == "flowchart LR"
    assert frame == '  subgraph cycle["tiny: 330 ms a step of 128 tokens"]'
    assert end == "  end"
    nodes = dict(match.groups() for line in body if (match := NODE.fullmatch(line)))
    assert nodes == {
        "input": "input processing<br/>1.00 ms (0.3 %)",
        "forward": "forward pass<br/>100 ms (30.0 %)",
        "backward": "backward pass<br/>200 ms (60.1 %)",
        "output": "generated output<br/>2.00 ms a token",
    }
    edges = [match.groups() for line in body if (match := EDGE.fullmatch(line))]
    assert edges == [
        ("input", "forward"),
        ("forward", "backward"),
        ("backward", "output"),
        ("output", "input"),
    ]
    assert len(body) == len(nodes) + len(edges)
    assert '|"update 30.0 ms (9.0 %)"|' in body[6]


def test_the_graph_names_each_stage_once_and_ends_where_it_begins() -> None:
    graph = describe_cycle(make_profile())
    assert [node.name for node in graph.nodes] == ["input", "forward", "backward", "output"]
    assert (graph.update.time, graph.update.share) == ("30.0 ms", "9.0 %")
    assert graph.step == "330 ms"
    assert write_mermaid(make_profile()).splitlines()[-2] == "    output -.-> input"


def test_generation_that_was_not_measured_has_no_time() -> None:
    text = write_mermaid(make_profile(inference=None))
    assert 'output["generated output<br/>not measured"]' in text


def test_a_name_cannot_end_its_label() -> None:
    frame = write_mermaid(make_profile(name='a"]\nb --> c #<b>')).splitlines()[1]
    assert frame.startswith('  subgraph cycle["a#quot;] b --#gt; c #35;#lt;b#gt;: ')
    assert frame.count('"') == 2


def test_a_profile_without_training_has_no_cycle() -> None:
    with pytest.raises(UsageError, match="expected a profile with training times"):
        write_mermaid(make_profile(training=None))
