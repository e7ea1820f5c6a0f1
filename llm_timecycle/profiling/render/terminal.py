"""A profile or a comparison as tables with bars, for a terminal or as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_timecycle.profiling.format import format_digits, format_duration
from llm_timecycle.profiling.render import rows as table_rows
from llm_timecycle.profiling.render.tables import WIDTH, make_table, render
from llm_timecycle.profiling.results import (
    Advice,
    ComparedTime,
    Profile,
)
from llm_timecycle.system import describe_machine_briefly

if TYPE_CHECKING:
    from rich.console import RenderableType


def write_tables(profile: Profile, *, width: int = WIDTH, is_coloured: bool = False) -> str:
    """Everything that a profile holds.

    Args:
        width: columns; longer sentences and cells are wrapped.
        is_coloured: whether to write the colours of an ANSI terminal.
    """
    return render(_list_parts(profile), width, is_coloured)


def write_comparison(
    a_name: str,
    b_name: str,
    times: Sequence[ComparedTime],
    differences: Mapping[str, tuple[Any, Any]],
) -> str:
    """Two profiles side by side, and what differs between them."""
    table = make_table(table_rows.list_comparison_rows(times))
    parts = [f"A: {a_name}", f"B: {b_name}", "", table]
    if differences:
        parts += ["", make_table(table_rows.list_difference_rows(differences), left=3)]
    return render(parts, WIDTH, is_coloured=False)


def _list_parts(profile: Profile) -> Iterator[RenderableType]:
    from rich.text import Text

    def head(text: str) -> Iterator[RenderableType]:
        yield ""
        yield Text(text, "bold")

    yield Text(f"{profile.name}: {profile.parameters:,} parameters", "bold")
    yield describe_machine_briefly(profile.machine)
    if (cycle := profile.training) is not None:
        rate = format_digits(cycle.tokens / cycle.wall.median_s)
        yield from head(
            f"Training step of {cycle.batch_size} x {cycle.sequence_length} = {cycle.tokens:,} "
            f"tokens: {format_duration(cycle.wall.median_s)}, {rate} tokens/s"
        )
        medians_s = [times.median_s for times in cycle.stages.values()]
        yield make_table(table_rows.list_stage_rows(cycle), medians_s)
        yield table_rows.describe_closure(cycle)
        yield table_rows.describe_hidden_input(cycle)
        if cycle.layers:
            yield from head("Layers, each timed alone")
            medians_s = [table_rows.sum_layer(passes) for passes in cycle.layers.values()]
            yield make_table(table_rows.list_layer_rows(cycle), medians_s)
    if profile.points:
        yield from head("Roofline: the least time that this machine's limits allow")
        yield table_rows.describe_limits(profile)
        yield make_table(table_rows.list_roofline_rows(profile))
    for growth in profile.growth:
        yield from head(f"Growth along {table_rows.AXIS_LABELS.get(growth.axis, growth.axis)}")
        yield make_table(table_rows.list_growth_rows(growth), growth.fit.times_s, are_parts=False)
        yield table_rows.describe_fit(growth)
        yield growth.explanation
    if profile.inference is not None:
        yield from head(f"Inference: {table_rows.describe_request(profile.inference)}")
        yield make_table(table_rows.list_inference_rows(profile.inference))
        if rates := profile.inference.tokens_per_s:
            bars = [rate for _, rate in sorted(rates.items())]
            yield ""
            yield make_table(table_rows.list_batch_rows(profile.inference), bars, are_parts=False)
        yield ""
        yield make_table([("", ""), *table_rows.INFERENCE_DEFINITIONS], left=2, has_head=False)
    for sweep in profile.sweeps:
        yield from head(f"Parallelism: {sweep.name}")
        yield make_table(table_rows.list_sweep_rows(sweep))
        yield from filter(None, (table_rows.describe_amdahl(sweep), sweep.remark))
    if (found := profile.workers) is not None:
        yield from head("Workers: processes on this machine, connected over loopback")
        yield make_table(table_rows.list_worker_rows(found))
        yield ""
        yield make_table([("", ""), *table_rows.WORKER_DEFINITIONS], left=2, has_head=False)
        yield ""
        yield from map(table_rows.describe_overlap, found.steps)
        yield found.remark
        yield ""
        yield make_table(table_rows.list_sum_rows(found))
        yield table_rows.describe_communication_fit(found)
        yield from head("Workers on a network")
        yield make_table(table_rows.list_network_rows(found))
        yield table_rows.NETWORK_NOTE
    if profile.advice:
        yield from head("Suggestions")
        for number, advice in enumerate(profile.advice, start=1):
            yield from _list_advice(number, advice)


def _list_advice(number: int, advice: Advice) -> Iterator[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    yield f"{number}. {advice.title} (saves {format_duration(advice.saves_s)})"
    yield Padding(advice.reason, (0, 0, 0, 3))
    if advice.changes:  # one line, however long, so that it can be copied
        changes = " ".join(f"--set {change}" for change in advice.changes)
        yield Text(f"   {changes}", no_wrap=True)
