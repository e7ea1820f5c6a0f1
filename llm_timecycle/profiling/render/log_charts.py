"""Pictures with two logarithmic axes: the roofline, and how time grows with a size.

Each is one string of SVG; see `svg` for its colours and sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.format import format_count, format_duration
from llm_timecycle.profiling.render.svg import (
    LINE_HEIGHT,
    WIDTH,
    Scale,
    choose_colour,
    draw_axes,
    draw_line,
    draw_path,
    draw_text,
    make_element,
    make_scale,
    shorten,
    wrap_chart,
)
from llm_timecycle.profiling.results import GrowthFit, RooflinePoint

_LEFT, _RIGHT, _TOP, _PLOT_HEIGHT = 72, 12, 36, 240
_DISC_RADIUS = 9.0
_LEGEND_TOP = _TOP + _PLOT_HEIGHT + 3.4 * LINE_HEIGHT

Place = tuple[float, float]  # in units of the picture


def draw_roofline(title: str, points: Sequence[RooflinePoint]) -> str:
    """Every stage by its intensity and its rate, under the roof; the legend names them by number.

    A stage without operations has no place on these axes and is only named.

    Raises:
        UsageError: no points, or points under different roofs.

    >>> from llm_timecycle.profiling.results import Roofline
    >>> point = RooflinePoint("forward", 800, 100, 2.0, Roofline(1000.0, 200.0))
    >>> draw_roofline("Roofline", [point]).count("<circle")  # a dot, and a disc with its number
    2
    """
    if not points or any(point.roofline != points[0].roofline for point in points):
        raise UsageError("roofline: expected at least one stage, all under the same roof.")
    roof = points[0].roofline
    placed = [p for p in points if p.operations > 0 and p.bytes_moved > 0]
    intensities = [roof.ridge / 8, roof.ridge * 4, *(p.intensity for p in placed)]
    x = make_scale(intensities, _LEFT, WIDTH - _RIGHT, is_log=True)
    lowest_roof = roof.limit_operations_per_s(x.low)
    rates = [lowest_roof, roof.peak_operations_per_s, *(p.operations_per_s for p in placed)]
    y = make_scale(rates, _TOP + _PLOT_HEIGHT, _TOP, is_log=True)
    parts = draw_axes(x, y, "operations a byte", "operations/s", _format_power, format_count)
    bends = [x.low, *([roof.ridge] if x.low < roof.ridge < x.high else []), x.high]
    parts.append(
        draw_path(
            [(x.place(i), y.place(roof.limit_operations_per_s(i))) for i in bends], "currentColor"
        )
    )
    legend = [
        f"roof: {format_count(roof.peak_operations_per_s, 'FLOP/s')}, "
        f"{format_count(roof.bandwidth_bytes_per_s, 'B/s')}"
    ]
    discs: list[Place] = []
    for number, point in enumerate(points, start=1):
        legend.append(f"{number} {point.name}: {100 * point.share:.0f} % of {point.binding}")
        if point in placed:
            place = x.place(point.intensity), y.place(point.operations_per_s)
            discs.append(_find_room(place, discs))
            parts += _draw_number(place, discs[-1], number)
    parts += _draw_lines(legend)
    return wrap_chart(title, _LEGEND_TOP + len(legend) * LINE_HEIGHT, parts)


def draw_growth(
    title: str,
    fit: GrowthFit,
    timings_s: Mapping[float, Sequence[float]],
    axis: str,
    counts: Mapping[float, float] | None = None,
) -> str:
    """Every timing, the fitted curve, and dashed the time if it grew as the work does.

    Args:
        timings_s: those that were fitted. axis: the name of n.
        counts: operations at each size; the dashed line meets the fit at the largest.

    Raises:
        UsageError: no timings, or one not above 0.
    """
    all_timings = [(n, t) for n, ts in sorted(timings_s.items()) for t in ts]
    x = make_scale((n for n, _ in all_timings), _LEFT, WIDTH - _RIGHT, is_log=True)
    sizes = np.geomspace(x.low, x.high, 60).tolist()
    fitted = [(n, fit.predict_s(n)) for n in sizes]
    work: list[tuple[float, float]] = []
    if counts:
        scale_s = fit.predict_s(max(counts)) / counts[max(counts)]
        work = [(n, scale_s * count) for n, count in sorted(counts.items())]
    seconds = [t for _, t in (*all_timings, *fitted, *work)]
    y = make_scale(seconds, _TOP + _PLOT_HEIGHT, _TOP, is_log=True)
    ticks = _thin_out(sorted(timings_s))
    parts = draw_axes(x, y, axis, "time", _format_power, format_duration, ticks)
    for n, t in all_timings:
        dot = {"cx": x.place(n), "cy": y.place(t), "r": 3}
        style = f"fill:{choose_colour(0)}"
        parts.append(make_element("circle", fill_opacity=0.55, style=style, **dot))
    parts.append(draw_path(_place(fitted, x, y), choose_colour(1)))
    interval = f"{fit.exponent_low:.2f} to {fit.exponent_high:.2f}"
    legend = [f"fit: time grows as {axis}^{fit.exponent:.2f} ({interval})"]
    if fit.constant_s > 0:
        legend.append(f"after a fixed cost of {format_duration(fit.constant_s)}")
    if work:
        parts.append(draw_path(_place(work, x, y), "currentColor", stroke_dasharray="5 4"))
        legend.append("dashed: if it grew as the operations do")
    parts += _draw_lines(legend)
    return wrap_chart(title, _LEGEND_TOP + len(legend) * LINE_HEIGHT, parts)


def _thin_out(sizes: Sequence[float]) -> list[float]:
    """At most eight of the sizes, at equal strides, the largest among them."""
    stride = math.ceil(len(sizes) / 8)
    return list(sizes[::-1][::stride])


def _format_power(value: float) -> str:
    """A round value, plain where that is short."""
    return f"{value:g}" if 1e-3 <= value < 1e5 else f"{value:.0e}".replace("e+0", "e")


def _place(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> list[Place]:
    return [(x.place(n), y.place(t)) for n, t in points]


def _find_room(place: Place, taken: Sequence[Place]) -> Place:
    """Where a disc can stand without covering another: at its place, or near it, rather below."""
    aside = (0.0, -21.0, 21.0, -42.0, 42.0)
    steps = [(0.0, 0.0)] + [(dx, dy) for dy in (21.0, 42.0, -21.0, -42.0, 0.0) for dx in aside]
    for dx, dy in steps:
        x, y = place[0] + dx, place[1] + dy
        is_free = all(math.dist((x, y), other) >= 2 * _DISC_RADIUS + 1 for other in taken)
        if is_free and _LEFT < x < WIDTH - _DISC_RADIUS and _TOP < y < _TOP + _PLOT_HEIGHT:
            return x, y
    return place


def _draw_number(place: Place, disc: Place, number: int) -> list[str]:
    """A dot at its place, and a disc with its number there or near it."""
    style = f"fill:{choose_colour(number - 1)}"
    ground = "fill:var(--chart-ground, #ffffff)"
    (x, y), (disc_x, disc_y) = place, disc
    return [
        make_element("circle", cx=x, cy=y, r=3.0, style=style),
        draw_line(x, y, disc_x, disc_y, opacity=0.6),
        make_element("circle", cx=disc_x, cy=disc_y, r=_DISC_RADIUS, style=style),
        draw_text(disc_x, disc_y + 4.5, str(number), "middle", style=ground, font_weight="bold"),
    ]


def _draw_lines(lines: Sequence[str]) -> list[str]:
    """Lines of text under the plot."""
    return [
        draw_text(0, _LEGEND_TOP + number * LINE_HEIGHT, shorten(line, WIDTH))
        for number, line in enumerate(lines)
    ]
