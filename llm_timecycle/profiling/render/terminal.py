"""A profile as tables with bars, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from llm_timecycle.profiling.format import format_digits, format_duration
from llm_timecycle.profiling.render.columns import (
    BAR_CELLS,
    align_columns,
    draw_bar,
    embolden,
    paint,
)
from llm_timecycle.profiling.render.rows import (
    INFERENCE_DEFINITIONS,
    Row,
    describe_amdahl,
    describe_ceilings,
    describe_closure,
    describe_fit,
    describe_hidden_input,
    describe_request,
    list_batch_rows,
    list_growth_rows,
    list_inference_rows,
    list_layer_rows,
    list_roofline_rows,
    list_stage_rows,
    list_sweep_rows,
    sum_layer,
)
from llm_timecycle.profiling.results import Advice, Growth, InferenceCycle, Profile, TrainingCycle
from llm_timecycle.system import describe_machine_briefly

WIDTH = 100


def write_tables(profile: Profile, *, is_coloured: bool = False) -> str:
    """Everything that a profile holds, in lines of at most `WIDTH` columns where words allow.

    Args:
        is_coloured: whether to write the colours of an ANSI terminal.
    """
    return "\n".join(_write_lines(profile, is_coloured))


def _write_lines(profile: Profile, is_coloured: bool) -> Iterator[str]:
    def head(text: str) -> Iterator[str]:
        yield from ("", embolden(text, is_coloured))

    yield embolden(f"{profile.name}: {profile.parameters:,} parameters", is_coloured)
    yield describe_machine_briefly(profile.machine)
    if profile.training is not None:
        yield from head(_title_step(profile.training))
        yield from _write_stages(profile.training, is_coloured)
        yield from _wrap(describe_closure(profile.training))
        yield from _wrap(describe_hidden_input(profile.training))
        if profile.training.layers:
            yield from head("Layers, each by itself")
            yield from _write_layers(profile.training, is_coloured)
    if profile.points:
        yield from head("Under this machine's ceilings")
        yield from _wrap(describe_ceilings(profile))
        yield from align_columns(list_roofline_rows(profile))
    for growth in profile.growth:
        yield from head(f"Growth along {growth.axis}")
        yield from _write_growth(growth, is_coloured)
    if profile.inference is not None:
        yield from head(f"Inference: {describe_request(profile.inference)}")
        yield from _write_inference(profile.inference, is_coloured)
    for sweep in profile.sweeps:
        yield from head(f"Sharing the work: {sweep.name}")
        yield from align_columns(list_sweep_rows(sweep))
        for text in (describe_amdahl(sweep), sweep.remark):
            yield from _wrap(text)
    if profile.advice:
        yield from head("What would shorten it")
        for number, advice in enumerate(profile.advice, start=1):
            yield from _write_advice(number, advice)


def _title_step(cycle: TrainingCycle) -> str:
    rate = format_digits(cycle.tokens / cycle.wall.median_s)
    return (
        f"Training step of {cycle.batch_size} x {cycle.sequence_length} = {cycle.tokens:,} tokens: "
        f"{format_duration(cycle.wall.median_s)}, {rate} tokens/s"
    )


def _write_stages(cycle: TrainingCycle, is_coloured: bool) -> Iterator[str]:
    shares = [cycle.share(stage) for stage in cycle.stages]
    yield from _add_bars(list_stage_rows(cycle), shares, is_coloured)


def _write_layers(cycle: TrainingCycle, is_coloured: bool) -> Iterator[str]:
    seconds = [sum_layer(passes) for passes in cycle.layers.values()]
    total_s = sum(seconds) or 1.0
    yield from _add_bars(list_layer_rows(cycle), [s / total_s for s in seconds], is_coloured)


def _write_growth(growth: Growth, is_coloured: bool) -> Iterator[str]:
    longest_s = max(growth.fit.times_s)
    bars = [time_s / longest_s for time_s in growth.fit.times_s]
    yield from _add_bars(list_growth_rows(growth), bars, is_coloured, has_one_colour=True)
    yield from _wrap(describe_fit(growth))
    yield from _wrap(growth.explanation)


def _write_inference(cycle: InferenceCycle, is_coloured: bool) -> Iterator[str]:
    yield from align_columns(list_inference_rows(cycle))
    yield ""
    fastest = max(cycle.tokens_per_s.values(), default=1.0)
    bars = [rate / fastest for _, rate in sorted(cycle.tokens_per_s.items())]
    if bars:
        yield from _add_bars(list_batch_rows(cycle), bars, is_coloured, has_one_colour=True)
    width = max(len(name) for name, _ in INFERENCE_DEFINITIONS)
    yield ""
    for name, meaning in INFERENCE_DEFINITIONS:
        yield f"{name.ljust(width)}  {meaning}"


def _write_advice(number: int, advice: Advice) -> Iterator[str]:
    saving = f" (saves {format_duration(advice.saves_s)})" if advice.saves_s > 0 else ""
    yield f"{number}. {advice.title}{saving}"
    yield from _wrap(advice.reason, indent="   ")
    if advice.changes:
        yield "   " + " ".join(f"--set {change}" for change in advice.changes)


def _wrap(text: str, indent: str = "") -> list[str]:
    """A sentence in lines; none where there is nothing to say."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )


def _add_bars(
    rows: Sequence[Row],
    bars: Sequence[float],
    is_coloured: bool,
    *,
    has_one_colour: bool = False,
) -> Iterator[str]:
    """Aligned rows, and behind each of the first ones below the heading a bar."""
    lines = align_columns(rows)
    width = max(map(len, lines))
    yield lines[0]
    for number, line in enumerate(lines[1:]):
        if number >= len(bars):
            yield line
            continue
        bar = draw_bar(bars[number], BAR_CELLS)
        colour = 0 if has_one_colour else number
        yield f"{line.ljust(width)}  {paint(bar, colour, is_coloured)}".rstrip()
