"""Pictures of one kind of value: stage bars, a latency histogram, curves over steps.

Each is one string of SVG; see `svg` for its colours and sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.format import format_digits, format_duration
from llm_timecycle.profiling.render.svg import (
    LINE_HEIGHT,
    WIDTH,
    Scale,
    choose_colour,
    draw_axes,
    draw_path,
    draw_text,
    make_element,
    make_scale,
    shorten,
    wrap_chart,
)

_LEFT, _RIGHT, _PLOT_HEIGHT = 72, 12, 220
_ROW_HEIGHT, _BAR_HEIGHT = 42, 14
_MOST_BINS = 40


@dataclass(frozen=True)
class Bar:
    """One stage: its name, its time, and what more stands beside the time."""

    label: str
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """One line: its name, and y at each x."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def draw_stage_bars(title: str, bars: Sequence[Bar]) -> str:
    """A horizontal bar for each stage; the longest takes the whole width.

    Raises:
        UsageError: no bars, or a time that is negative or not finite.

    >>> draw_stage_bars("A step", [Bar("forward", 0.1, "25 %")]).count("<rect")
    2
    """
    if not bars or not all(0 <= bar.seconds < math.inf for bar in bars):
        raise UsageError("stage bars: expected at least one, with times of 0 or more.")
    longest = max(bar.seconds for bar in bars) or 1.0
    parts = []
    for number, bar in enumerate(bars):
        y = number * _ROW_HEIGHT
        value = format_duration(bar.seconds) + (f" · {bar.note}" if bar.note else "")
        label = shorten(bar.label, WIDTH - 8.0 * len(value))
        size = {"x": 0, "y": y + 22, "height": _BAR_HEIGHT, "rx": 3}
        width, style = WIDTH * bar.seconds / longest, f"fill:{choose_colour(number)}"
        parts += [
            draw_text(0, y + 16, label),
            draw_text(WIDTH, y + 16, value, "end"),
            make_element("rect", width=WIDTH, fill_opacity=0.08, **size),
            make_element("rect", width=width, style=style, **size),
        ]
    return wrap_chart(title, len(bars) * _ROW_HEIGHT, parts)


def draw_latency_histogram(title: str, latencies_s: Sequence[float]) -> str:
    """How often each latency was seen, with the median, 95th and 99th percentile.

    The slowest hundredth of many latencies is added to the last bin, which a "+" marks, so that one
    outlier does not flatten all others.

    Raises:
        UsageError: no latencies, or one that is negative or not finite.

    >>> "median 2.00 ms" in draw_latency_histogram("Tokens", [0.001, 0.002, 0.003])
    True
    """
    if not len(latencies_s) or not all(0 <= latency < math.inf for latency in latencies_s):
        raise UsageError("latencies: expected at least one, all of 0 or more.")
    values = np.asarray(latencies_s, float)
    marks = np.percentile(values, [50, 95, 99])
    low, high = float(values.min()), float(max(1.2 * marks[2], np.nextafter(values.min(), 1e9)))
    is_cut = high < values.max()
    high = high if is_cut else float(max(values.max(), 1.001 * low, low + 1e-9))
    bins = min(_MOST_BINS, max(5, round(math.sqrt(len(values)))))
    counts, edges = np.histogram(np.minimum(values, high), bins, (low, high))
    # From the lowest, not from 0: times of one thing lie close together, far from 0.
    x = Scale(low, high, _LEFT - 24, WIDTH - _RIGHT)
    top = LINE_HEIGHT * 2.0
    y = make_scale([0, max(counts.max(), 5)], top + _PLOT_HEIGHT, top, is_log=False)
    parts = draw_axes(x, y, "latency", "count", format_duration, format_digits_whole)
    for count, left, right in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        place, width = x.place(float(left)), x.place(float(right)) - x.place(float(left))
        height = y.start - y.place(count)
        bar = {"x": place, "y": y.start - height, "width": max(width - 1, 0.5), "height": height}
        parts.append(make_element("rect", style=f"fill:{choose_colour(0)}", **bar))
    if is_cut:
        parts.append(draw_text(x.end, y.place(float(counts[-1])) - 4, "+", "end"))
    names = ("median", "p95", "p99")
    for number, mark in enumerate(marks.tolist(), start=1):
        upright = [(x.place(mark), y.start), (x.place(mark), y.end)]
        parts.append(draw_path(upright, choose_colour(number), stroke_dasharray="4 3"))
    labels = [f"{n} {format_duration(m)}" for n, m in zip(names, marks.tolist(), strict=True)]
    parts += _draw_legend(labels, y.start + 3 * LINE_HEIGHT, first_colour=1)
    return wrap_chart(title, y.start + _measure_legend(labels) + 2.5 * LINE_HEIGHT, parts)


def draw_curves(
    title: str,
    curves: Sequence[Curve],
    x_title: str,
    y_title: str,
    *,
    starts_at_zero: bool = False,
    format_y: Callable[[float], str] = format_digits,
) -> str:
    """Lines over a common x: the loss or the throughput of a run.

    Raises:
        UsageError: no curve, a curve without points, of unequal lengths, or not finite.

    >>> picture = draw_curves("Loss", [Curve("train", [0, 1], [3.0, 2.0])], "step", "nats")
    >>> picture.count("<polyline")
    1
    """
    if not curves or not all(len(curve.x) == len(curve.y) > 0 for curve in curves):
        raise UsageError("curves: expected at least one, with a y for each x.")
    top = LINE_HEIGHT * 2.0
    x = make_scale((v for c in curves for v in c.x), _LEFT, WIDTH - _RIGHT, is_log=False)
    values = [value for curve in curves for value in curve.y]
    y = make_scale(values, top + _PLOT_HEIGHT, top, is_log=False)
    if not starts_at_zero and min(values) > 0:
        room = 0.08 * (max(values) - min(values)) or 0.1 * max(values)
        y = type(y)(max(min(values) - room, 0.0), max(values) + room, y.start, y.end)
    parts = draw_axes(x, y, x_title, y_title, format_digits_whole, format_y)
    for number, curve in enumerate(curves):
        points = [(x.place(a), y.place(b)) for a, b in zip(curve.x, curve.y, strict=True)]
        colour = choose_colour(number)
        if len(points) == 1:  # a line through one point cannot be seen
            dot = {"cx": points[0][0], "cy": points[0][1], "r": 3}
            parts.append(make_element("circle", style=f"fill:{colour}", **dot))
        parts.append(draw_path(points, colour))
    labels = [curve.label for curve in curves]
    parts += _draw_legend(labels, y.start + 3 * LINE_HEIGHT)
    return wrap_chart(title, y.start + _measure_legend(labels) + 2.5 * LINE_HEIGHT, parts)


def format_digits_whole(number: float) -> str:
    """A number of steps or sizes: whole where it is whole.

    >>> format_digits_whole(1500.0), format_digits_whole(0.5)
    ('1500', '0.5')
    """
    return f"{number:.12g}"


def _draw_legend(labels: Sequence[str], top: float, first_colour: int = 0) -> list[str]:
    """A line for each label, after a mark of its colour."""
    parts = []
    for number, label in enumerate(labels):
        y = top + number * LINE_HEIGHT
        mark = {"x": 0, "y": y - 9, "width": 14, "height": 8, "rx": 2}
        colour = choose_colour(first_colour + number)
        parts.append(make_element("rect", style=f"fill:{colour}", **mark))
        parts.append(draw_text(20, y, shorten(label, WIDTH - 20.0)))
    return parts


def _measure_legend(labels: Sequence[str]) -> float:
    return len(labels) * LINE_HEIGHT + LINE_HEIGHT / 2
