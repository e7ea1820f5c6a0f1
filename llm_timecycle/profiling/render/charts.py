"""Every chart of a profile, as `matplotlib` figures to show, save or put into a page.

Each function takes results and gives a `Figure`. Nothing here touches pyplot, its global state or
the choice of a backend. Import this module only where a chart is drawn: matplotlib takes a moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.format import format_count, format_duration, format_share
from llm_timecycle.profiling.render.chart_style import (
    FONT_PT,
    INK,
    SERIES,
    STAGE_COLOURS,
    WIDTH_PT,
    add_legend,
    add_title,
    make_bars,
    make_figure,
    make_plot,
    mark_log_axis,
    mark_percentiles,
)
from llm_timecycle.profiling.render.cycle import UPDATED, CycleGraph, describe_cycle
from llm_timecycle.profiling.render.rows import AXIS_LABELS, sum_layer
from llm_timecycle.profiling.results import (
    TRAINING_STAGES,
    Growth,
    Profile,
    RooflinePoint,
    Sweep,
    TrainingCycle,
)

_MARKERS = "osD^v"
_MOST_BINS = 40
_HISTORIES = (
    ("loss", "nats per token", {"train_loss_nats": "training", "valid_loss_nats": "validation"}),
    ("throughput", "tokens/s", {"tokens_per_s": ""}),
)


@dataclass(frozen=True)
class Chart:
    """A chart that can be drawn."""

    name: str
    title: str
    draw: Callable[[], Figure]


def list_charts(profile: Profile) -> dict[str, Chart]:
    """The charts that a profile has figures for, by name; nothing is drawn yet."""
    charts: list[Chart] = []

    def add(name: str, title: str, draw: Callable[..., Figure], *figures: Any) -> None:
        charts.append(Chart(name, title, partial(draw, *figures)))

    if (cycle := profile.training) is not None:
        add("cycle", "The time cycle", draw_cycle, describe_cycle(profile))
        add("stages", "Stages of a training step", draw_stages, cycle)
        if cycle.layers:
            add("layers", "Layers of a training step", draw_layers, cycle)
        add("steps", "Time of a training step", draw_steps, cycle.wall.samples_s)
    # The layers lie too close to each other to be distinguished.
    stages = [point for point in profile.points if point.name in TRAINING_STAGES]
    if stages:
        add("roofline", "Roofline", draw_roofline, stages)
    for growth in profile.growth:
        add(f"growth:{growth.axis}", f"Growth along {growth.axis}", draw_growth, growth)
    if (inference := profile.inference) is not None:
        if inference.between_tokens.samples_s:
            gaps_s = inference.between_tokens.samples_s
            add("gaps", "Inter-token latency (ITL)", draw_latencies, gaps_s)
        if inference.tokens_per_s:
            add("batches", "Generation by batch size", draw_batches, inference.tokens_per_s)
    for sweep in profile.sweeps:
        if len(sweep.samples_s) > 1:
            add(f"parallel:{sweep.name}", f"Speed-up by {sweep.name}", draw_speed_up, sweep)
    if (found := profile.workers) is not None:
        samples_s = {1: found.alone_s[1], **{step.workers: step.step_s for step in found.steps}}
        workers = Sweep("workers", samples_s, None, found.remark)
        add("parallel:workers", "Speed-up by workers on this machine", draw_speed_up, workers)
    for name, unit, columns in _HISTORIES:
        if any(key in row for row in profile.history for key in columns):
            add(
                name,
                f"{name.capitalize()} of the run",
                draw_history,
                profile.history,
                unit,
                columns,
            )
    return {chart.name: chart for chart in charts}


def draw_chart(profile: Profile, name: str) -> Figure:
    """One chart by its name, under its title.

    Raises:
        UsageError: the profile has no such chart.
    """
    charts = list_charts(profile)
    if name not in charts:
        available = ", ".join(charts) or "none: nothing was measured"
        raise UsageError(
            f"figure: expected a chart that was measured ({available}), received {name!r}."
        )
    figure = charts[name].draw()
    add_title(figure, profile.name, charts[name].title)
    return figure


def draw_cycle(graph: CycleGraph) -> Figure:
    """Input processing, forward pass, backward pass, generated output, and round again."""
    width, height, box_width, box_height = WIDTH_PT, 226.0, 140.0, 74.0
    figure = make_figure(height)
    axes = figure.add_subplot(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    left, right = box_width / 2 + 2, width - box_width / 2 - 2
    low, high = box_height / 2 + 2, height - box_height / 2 - 2
    corners = ((left, high), (right, high), (right, low), (left, low))
    centres = dict(zip((node.name for node in graph.nodes), corners, strict=True))

    def write(x: float, y: float, text: str, weight: str = "normal") -> None:
        axes.text(
            x, y, text,
            ha="center", va="center", fontsize=FONT_PT, color=INK, fontweight=weight,
        )  # fmt: skip

    for node in graph.nodes:
        x, y = centres[node.name]
        corner = (x - box_width / 2, y - box_height / 2)
        for style in ({"fill": False, "linewidth": 1.5}, {"alpha": 0.14, "linewidth": 0}):
            box = FancyBboxPatch(corner, box_width, box_height, "round,pad=0,rounding_size=8")
            box.set(color=STAGE_COLOURS[node.name], **style)
            axes.add_patch(box)
        above = 21 if node.share else 11
        write(x, y + above, node.label)
        write(x, y + above - 22, node.time, "bold")
        write(x, y + above - 42, f"{node.share} of a step" if node.share else "")
    for node, following in zip(graph.nodes, (*graph.nodes[1:], graph.nodes[0]), strict=True):
        (x1, y1), (x2, y2) = centres[node.name], centres[following.name]
        dx, dy = np.sign(x2 - x1) * box_width / 2, np.sign(y2 - y1) * box_height / 2
        arrow = FancyArrowPatch((x1 + dx, y1 + dy), (x2 - dx, y2 - dy), shrinkA=4, shrinkB=4)
        arrow.set(arrowstyle="-|>", mutation_scale=14, color=INK, linewidth=1.5)
        arrow.set_linestyle("--" if following is graph.nodes[0] else "-")
        axes.add_patch(arrow)
        if node.name == UPDATED:
            write((x1 + x2) / 2, y1 + 16, graph.update.label)
            write((x1 + x2) / 2, y1 - 16, graph.update.time, "bold")
    write(width / 2, height / 2, f"{graph.step} a step")
    return figure


def draw_stages(cycle: TrainingCycle) -> Figure:
    """A bar for each stage of a training step."""
    times_s = {stage: times.median_s for stage, times in cycle.stages.items()}
    labels = [
        f"{format_duration(s)} · {format_share(cycle.share(stage))}" for stage, s in times_s.items()
    ]
    colours = [STAGE_COLOURS[stage] for stage in times_s]
    return make_bars(times_s, labels, "median time", colours=colours)[0]


def draw_layers(cycle: TrainingCycle) -> Figure:
    """A bar for each layer: its forward pass, then its backward pass."""
    totals_s = {layer: sum_layer(passes) for layer, passes in cycle.layers.items()}
    whole_s = sum(totals_s.values()) or 1.0
    labels = [f"{format_duration(s)} · {format_share(s / whole_s)}" for s in totals_s.values()]
    figure, axes = make_bars(totals_s, labels, "median time")
    left = np.zeros(len(totals_s))
    for stage in ("forward", "backward"):
        times_s = np.array([passes[stage].median_s for passes in cycle.layers.values()])
        colour, label = STAGE_COLOURS[stage], f"{stage} pass"
        axes.barh(list(totals_s), times_s, left=left, height=0.6, color=colour, label=label)
        left += times_s
    add_legend(figure, columns=2)
    return figure


def draw_steps(times_s: Sequence[float]) -> Figure:
    """The time of each step without markers, in the order of measurement."""
    figure, axes = make_plot("step", "time", 200)
    axes.plot(range(1, len(times_s) + 1), times_s, "o", color=SERIES[0], markersize=4)
    mark_percentiles(times_s, (50, 95), axes.axhline)
    axes.set_ylim(0, 1.15 * max(times_s))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(8, integer=True))
    axes.yaxis.set_major_formatter(ticker.EngFormatter("s"))
    add_legend(figure, columns=2)
    return figure


def draw_latencies(latencies_s: Sequence[float]) -> Figure:
    """How often each gap between two tokens was seen, with the median, p95 and p99.

    The slowest of many latencies are counted in the last bin, which a "+" marks, so that one
    outlier does not flatten all others. The axis starts at the lowest: latencies lie close together
    and far from 0.
    """
    values = np.asarray(latencies_s, float)
    low, top = float(values.min()), float(values.max())
    high = min(top, max(1.2 * float(np.percentile(values, 99)), low))
    is_cut = low < high < top
    high = high if high > low else 1.001 * low + 1e-9
    bins = min(_MOST_BINS, max(5, round(math.sqrt(len(values)))))
    figure, axes = make_plot("latency", "count", 230)
    counts, edges = np.histogram(np.minimum(values, high), bins, (low, high))
    width = (high - low) / bins
    axes.bar(edges[:-1], counts, 0.9 * width, align="edge", color=SERIES[0])
    if is_cut:
        axes.text(high, counts[-1], "+", ha="right", va="bottom", fontsize=FONT_PT, color=INK)
    mark_percentiles(latencies_s, (50, 95, 99), axes.axvline)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.xaxis.set_major_formatter(ticker.EngFormatter("s"))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    add_legend(figure, columns=3)
    return figure


def draw_batches(tokens_per_s: Mapping[int, float]) -> Figure:
    """Generated tokens a second at each batch size."""
    rates = {f"batch {size:,}": rate for size, rate in sorted(tokens_per_s.items())}
    labels = [f"{rate:,.0f} tokens/s" for rate in rates.values()]
    label = "tokens/s, all rows together"
    return make_bars(rates, labels, label, unit="", colours=[SERIES[5]] * len(rates))[0]


def draw_roofline(points: Sequence[RooflinePoint]) -> Figure:
    """Every stage by arithmetic intensity and rate, under the roofline of this machine."""
    roofline = points[0].roofline
    figure, axes = make_plot("arithmetic intensity (FLOP/byte)", "FLOP/s", 290)
    placed = [point for point in points if point.operations > 0 and point.bytes_moved > 0]
    intensities = [roofline.ridge / 8, roofline.ridge * 4, *(p.intensity for p in placed)]
    low, high = min(intensities) / 1.4, max(intensities) * 1.4
    peak = format_count(roofline.peak_operations_per_s, "FLOP/s")
    bandwidth = format_count(roofline.bandwidth_bytes_per_s, "B/s")
    bends = [low, roofline.ridge, high]
    roof = [roofline.limit_operations_per_s(intensity) for intensity in bends]
    axes.loglog(bends, roof, color=INK, label=f"roofline: {peak}, {bandwidth}")
    for number, point in enumerate(placed):
        axes.loglog(
            point.intensity,
            point.operations_per_s,
            _MARKERS[number % len(_MARKERS)],
            color=STAGE_COLOURS.get(point.name, SERIES[number % len(SERIES)]),
            markersize=8,
            label=f"{point.name}: {100 * point.share:.0f} % of the {point.binding} bound",
        )
    mark_log_axis(axes.xaxis, low, high, "")
    rates = [*roof, *(point.operations_per_s for point in placed)]
    mark_log_axis(axes.yaxis, min(rates) / 1.4, max(rates) * 1.4, "")
    add_legend(figure)
    return figure


def draw_growth(growth: Growth) -> Figure:
    """Every timing along one axis, the fit, and dashed the time if it grew as the FLOPs do.

    The dashed line meets the fit at the largest size.
    """
    axis, fit, sizes = growth.axis, growth.fit, sorted(growth.samples_s)
    figure, axes = make_plot(AXIS_LABELS.get(axis, axis), "time", 290)
    timings = [(size, time_s) for size in sizes for time_s in growth.samples_s[size]]
    axes.loglog(*zip(*timings, strict=True), "o", color=SERIES[0], markersize=4, alpha=0.6)
    low, high = sizes[0] / 1.1, sizes[-1] * 1.1
    curve = np.geomspace(low, high, 60)
    fixed = f"{format_duration(fit.constant_s)} + " if fit.constant_s > 0 else ""
    interval = f"{fit.exponent_low:.2f} to {fit.exponent_high:.2f}"
    label = (
        f"fit: {fixed}{format_duration(fit.coefficient_s)} x {axis}^{fit.exponent:.2f} ({interval})"
    )
    fitted_s = [fit.predict_s(float(size)) for size in curve]
    axes.loglog(curve, fitted_s, color=SERIES[1], label=label)
    shown_s = [*(time_s for _, time_s in timings), *fitted_s]
    if growth.counts:
        counts = dict(sorted(growth.counts.items()))
        largest = max(counts)
        scale_s = fit.predict_s(largest) / counts[largest]
        work_s = [scale_s * count for count in counts.values()]
        axes.loglog(list(counts), work_s, "--", color=INK, label="if it grew as the FLOPs do")
        shown_s += work_s
    stride = math.ceil(len(sizes) / 7)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(ticker.FixedLocator(sizes[::-1][::stride]))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    mark_log_axis(axes.yaxis, min(shown_s) / 1.1, max(shown_s) * 1.1, "s")
    add_legend(figure)
    return figure


def draw_speed_up(sweep: Sweep) -> Figure:
    """The speed-up over the first value, and Amdahl's law where it was fitted."""
    values = sorted(sweep.samples_s)
    times_s = [median(sweep.samples_s[value]) for value in values]
    figure, axes = make_plot(sweep.name, "speed-up", 230)
    speed_ups = [times_s[0] / time_s for time_s in times_s]
    axes.plot(values, speed_ups, "o-", color=SERIES[0], label="measured")
    if sweep.fit is not None:
        law = [sweep.fit.predict_speed_up(value) for value in values]
        axes.plot(values, law, "--", color=SERIES[1], label="Amdahl's law, fitted")
        add_legend(figure, columns=2)
    axes.set_ylim(0, 1.15 * max(axes.get_ylim()[1], 1))
    axes.xaxis.set_major_locator(ticker.FixedLocator(values))
    return figure


def draw_history(
    history: Sequence[Mapping[str, float]], unit: str, columns: Mapping[str, str]
) -> Figure:
    """Columns of a run's log over its steps, where they have a value.

    Args:
        columns: the label of each, by its name; empty where it needs none.
    """
    figure, axes = make_plot("step", unit, 250)
    for number, (key, label) in enumerate(columns.items()):
        rows = [row for row in history if key in row and "step" in row]
        if rows:
            steps, values = [row["step"] for row in rows], [row[key] for row in rows]
            axes.plot(steps, values, ".-", color=SERIES[number], label=label)
    if all(columns.values()):
        add_legend(figure, columns=2)
    else:
        axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
        axes.yaxis.set_major_formatter(ticker.EngFormatter(sep=""))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    return figure
