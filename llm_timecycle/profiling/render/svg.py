"""The parts of a picture: elements of SVG as strings, scales, axes, colours.

A picture stands inline in a page and takes its text and line colour from there (`currentColor`).
Its other colours are variables, which `CHART_STYLE` sets for light and for dark; without it each
has a colour that can be seen on both. Every picture is `WIDTH` units wide and its text is at least
`FONT_SIZE` high, so that it can be read on a phone, where a unit is about 0.85 pixels.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from llm_timecycle.errors import UsageError

WIDTH = 420
FONT_SIZE = 13
LINE_HEIGHT = 18
_CHARACTER_WIDTH = 0.56 * FONT_SIZE  # of a system font, on average; used to keep text inside

_COLOURS = ("#4a86cf", "#d9772b", "#3f9f77", "#b262b0", "#b08d1e", "#d05568")

CHART_STYLE = """
:root { color-scheme: light dark; --chart-1: #2265b3; --chart-2: #c05a0c; --chart-3: #1f7d57;
  --chart-4: #93408f; --chart-5: #8a6a00; --chart-6: #b8324a; --chart-ground: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --chart-1: #6ea8ec; --chart-2: #f0994f;
  --chart-3: #5cc497; --chart-4: #d38bd1; --chart-5: #d8b44a; --chart-6: #f07f90;
  --chart-ground: #16181c; } }
@media print { :root { --chart-1: #2265b3; --chart-2: #c05a0c; --chart-3: #1f7d57;
  --chart-4: #93408f; --chart-5: #8a6a00; --chart-6: #b8324a; --chart-ground: #ffffff; } }
svg.chart { display: block; width: 100%; max-width: 640px; height: auto; }
"""
"""What a page with pictures puts in its style, once."""


@dataclass(frozen=True)
class Scale:
    """From values to places along an axis, in units of the picture; linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies; beyond the ends too, for a value beyond the range.

        >>> Scale(1, 100, 0, 200, is_log=True).place(10)
        100.0
        """
        low, high = self.low, self.high
        if self.is_log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def make_scale(values: Iterable[float], start: float, end: float, *, is_log: bool) -> Scale:
    """A scale that holds all values: from 0 where it is linear, with a little room where it is not.

    Raises:
        UsageError: no values, one that is not finite, or on a logarithmic scale not above 0.

    >>> make_scale([3.0, 9.0], 0, 90, is_log=False).low
    0.0
    """
    found = list(values)
    if not found or not all(math.isfinite(value) for value in found):
        raise UsageError(f"a chart: expected finite values, received {found[:5]}.")
    low, high = min(found), max(found)
    if is_log:
        if low <= 0:
            raise UsageError(f"a logarithmic chart: expected values above 0, received {low}.")
        room = (high / low) ** 0.06 if high > low else 2.0
        return Scale(low / room, high * room, start, end, is_log=True)
    low = min(low, 0.0)
    return Scale(low, high if high > low else low + 1.0, start, end)


def list_ticks(scale: Scale, most: int = 5) -> list[float]:
    """Round values along a scale, at most so many.

    >>> list_ticks(Scale(0, 97, 0, 1)), list_ticks(Scale(0.5, 2000, 0, 1, is_log=True))
    ([0.0, 20.0, 40.0, 60.0, 80.0], [1.0, 10.0, 100.0, 1000.0])
    >>> list_ticks(Scale(3, 90, 0, 1, is_log=True))
    [5.0, 10.0, 20.0, 50.0]
    """
    if scale.is_log:
        return _list_log_ticks(scale, most)
    for magnitude in range(-24, 25):
        start = math.floor(math.log10(scale.high - scale.low)) - 1
        for step in (1, 2, 5):
            width = step * 10.0 ** (start + magnitude + 24)
            first, last = math.ceil(scale.low / width - 1e-9), math.floor(scale.high / width + 1e-9)
            if last - first < most:
                return [float(f"{place * width:.12g}") for place in range(first, last + 1)]
    return []


def _list_log_ticks(scale: Scale, most: int) -> list[float]:
    """1, 2 and 5 times powers of ten, or where these are too many the powers alone."""
    lowest, highest = (math.floor(math.log10(end)) for end in (scale.low, scale.high))
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [f * 10.0**power for power in range(lowest, highest + 1) for f in factors]
        ticks = [float(f"{v:.12g}") for v in values if scale.low <= v <= scale.high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


def make_element(name: str, /, *content: str, **attributes: object) -> str:
    """An element; `_` in a name stands for `-`. The content must be escaped or made of elements.

    >>> make_element("text", escape("a < b"), x=1.25, text_anchor="end")
    '<text x="1.25" text-anchor="end">a &lt; b</text>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_write_value(value))}"'
        for key, value in attributes.items()
    )
    inside = "".join(content)
    return f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>"


def escape(text: str) -> str:
    """Text as it may stand in an element."""
    return html.escape(text, quote=False)


def draw_text(x: float, y: float, text: str, anchor: str = "start", **attributes: object) -> str:
    """One line of text, its baseline at y."""
    return make_element("text", escape(text), x=x, y=y, text_anchor=anchor, **attributes)


def shorten(text: str, width: float) -> str:
    """The text, or as much of it as fits in a width, with a sign that more follows.

    >>> shorten("a very long label", 60)
    'a very…'
    """
    most = max(1, int(width / _CHARACTER_WIDTH))
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def choose_colour(number: int) -> str:
    """The colour of a series, from 0 upwards; after six they begin anew."""
    index = number % len(_COLOURS)
    return f"var(--chart-{index + 1}, {_COLOURS[index]})"


def draw_line(
    x1: float, y1: float, x2: float, y2: float, opacity: float = 1.0, **attributes: object
) -> str:
    """A line in the colour of the text."""
    return make_element(
        "line",
        x1=x1, y1=y1, x2=x2, y2=y2, stroke="currentColor", stroke_opacity=opacity, **attributes,
    )  # fmt: skip


def draw_axes(
    x: Scale,
    y: Scale,
    x_title: str,
    y_title: str,
    format_x: Callable[[float], str],
    format_y: Callable[[float], str],
    x_ticks: Iterable[float] | None = None,
) -> list[str]:
    """Grid lines with their values, and what both axes stand for; y.start is the bottom.

    `x_ticks` are values to mark instead of round ones.
    """
    parts = []
    for value in list_ticks(y):
        at = y.place(value)
        parts += [
            draw_line(x.start, at, x.end, at, opacity=0.15),
            draw_text(x.start - 6, at + 4, _drop_zeros(format_y(value)), "end"),
        ]
    for value in list_ticks(x) if x_ticks is None else x_ticks:
        at, text = x.place(value), _drop_zeros(format_x(value))
        half = len(text) * _CHARACTER_WIDTH / 2  # a value at the very edge must not be cut off
        parts += [
            draw_line(at, y.start, at, y.end, opacity=0.15),
            draw_text(min(at, WIDTH - half - 1), y.start + LINE_HEIGHT, text, "middle"),
        ]
    parts.append(draw_line(x.start, y.start, x.end, y.start, opacity=0.6))
    parts.append(draw_text(x.end, y.start + 2 * LINE_HEIGHT, x_title, "end"))
    parts.append(draw_text(2, y.end - 10, y_title))
    return parts


def draw_path(points: Iterable[tuple[float, float]], colour: str, **attributes: object) -> str:
    """A line through points."""
    written = " ".join(f"{_write_value(x)},{_write_value(y)}" for x, y in points)
    return make_element(
        "polyline",
        points=written, fill="none", style=f"stroke:{colour}",
        stroke_width=2, stroke_linejoin="round", **attributes,
    )  # fmt: skip


def wrap_chart(title: str, height: float, parts: Iterable[str]) -> str:
    """The picture itself; its title is read aloud, and shown where the pointer rests."""
    return make_element(
        "svg",
        make_element("title", escape(title)),
        *parts,
        xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {_write_value(height)}",
        class_="chart", role="img", aria_label=title, fill="currentColor", font_size=FONT_SIZE,
        font_family="system-ui, sans-serif",
    )  # fmt: skip


def _drop_zeros(text: str) -> str:
    """A round value without the empty places behind its point: 10 ms for 10.0 ms."""
    return re.sub(r"\.(\d*?)0+(?=\D|$)", lambda m: f".{m[1]}" if m[1] else "", text)


def _write_value(value: object) -> str:
    """Numbers with at most two places behind the point."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
