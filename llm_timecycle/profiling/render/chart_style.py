"""How charts look: colours, text, axes and legends, on `matplotlib`'s object API.

In a page a chart is SVG with text as text, and the page's colours in place of its own: text and
lines take the colour of the text around it (`currentColor`), the series take CSS variables, which
`report.css` sets for light, dark and print. Each variable has a fallback that is legible on both,
for pages without that style, such as a notebook.
"""

from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager, ticker
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure

from llm_timecycle.profiling.format import format_duration
from llm_timecycle.profiling.results import TRAINING_STAGES

INK = "#1c2024"
SERIES = ("#2265b3", "#c05a0c", "#1f7d57", "#93408f", "#8a6a00", "#b8324a")
STAGE_COLOURS = dict(zip((*TRAINING_STAGES, "output"), SERIES, strict=True))
WIDTH_PT, FONT_PT = 400.0, 12.0  # text of 11 pixels where a phone shows the chart 360 wide

_CJK_FAMILIES = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei"),
    *("PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Arial Unicode MS"),
)
_FIRST_CJK = "\u2e80"

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_FALLBACKS = ("#4a86cf", "#d9772b", "#3f9f77", "#b262b0", "#b08d1e", "#d05568")
_VARIABLES = {
    INK: "currentColor",
    **{
        colour: f"var(--chart-{number}, {fallback})"
        for number, (colour, fallback) in enumerate(zip(SERIES, _FALLBACKS, strict=True), start=1)
    },
}
_COLOUR = re.compile("|".join(_VARIABLES))
_FONT_FAMILY = re.compile(r"font-family: [^;]*;? ?")


class ChartFigure(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_svg_(self) -> str:
        file = io.StringIO()
        self.savefig(file, format="svg")
        return file.getvalue()


def make_figure(height_pt: float) -> Figure:
    """An empty figure, as wide as every chart."""
    return ChartFigure(figsize=(WIDTH_PT / 72, height_pt / 72), layout="constrained", dpi=150)


def make_plot(x_label: str, y_label: str, height_pt: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes: two spines, a faint grid, labels."""
    figure = make_figure(height_pt)
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.grid(color=INK, alpha=0.15, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=INK, labelsize=FONT_PT)
    axes.set_xlabel(x_label, fontsize=FONT_PT, color=INK)
    axes.set_ylabel(y_label, fontsize=FONT_PT, color=INK)
    return figure, axes


def make_bars(
    bars: Mapping[str, float],
    labels: Sequence[str],
    x_label: str,
    unit: str = "s",
    colours: Sequence[str] = (),
) -> tuple[Figure, Axes]:
    """Horizontal bars: names at the left, the first at the top.

    Args:
        bars: how far each reaches, by name.
        labels: each is written behind the end of its bar.
        unit: of the x axis, where values take SI prefixes.
        colours: of the bars; empty to leave them out.
    """
    figure, axes = make_plot(x_label, "", 62 + 30 * len(bars))
    axes.set_yticks(range(len(bars)), list(bars))
    if colours:
        axes.barh(list(bars), list(bars.values()), height=0.6, color=colours)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    longest = max(bars.values()) or 1.0
    axes.set_xlim(0, 1.65 * longest)
    for row, (label, end) in enumerate(zip(labels, bars.values(), strict=True)):
        x = end + 0.02 * longest
        axes.text(x, row, label, va="center", fontsize=FONT_PT, color=INK)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.xaxis.set_major_formatter(ticker.EngFormatter(unit, sep=" " if unit else ""))
    return figure, axes


def mark_percentiles(
    values_s: Sequence[float], percents: Sequence[int], draw_line: Callable[..., Any]
) -> None:
    """A dashed line at each percentile, in seconds; `draw_line` is `axes.axhline` or `axvline`."""
    for colour, percent in enumerate(percents, start=1):
        value = float(np.percentile(values_s, percent))
        name = "median" if percent == 50 else f"p{percent}"
        style = {"color": SERIES[colour], "linestyle": "--", "linewidth": 1.5}
        draw_line(value, label=f"{name} {format_duration(value)}", **style)


def mark_log_axis(axis: XAxis | YAxis, low: float, high: float, unit: str) -> None:
    """Limits and round values with SI prefixes along a logarithmic axis."""
    decades = math.log10(high / low)
    factors = (1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 3 else (1.0,)
    locator = (
        ticker.LogLocator(subs=factors, numticks=7) if decades > 0.7 else ticker.MaxNLocator(5)
    )
    axis.set_major_locator(locator)
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.EngFormatter(unit, sep=" " if unit else ""))
    axis.set_view_interval(low, high, ignore=True)


def add_legend(figure: Figure, columns: int = 1) -> None:
    """The names of all series, below the axes."""
    legend = figure.legend(
        loc="outside lower left", ncols=columns, frameon=False, fontsize=FONT_PT, labelcolor=INK,
        handlelength=1.5, columnspacing=1.2, borderpad=0, borderaxespad=0.25,
    )  # fmt: skip
    for text in legend.get_texts():
        if max(text.get_text(), default="") >= _FIRST_CJK:
            text.set_fontfamily(["sans-serif", *_find_cjk_families()])


def add_title(figure: Figure, owner: str, title: str) -> None:
    """What the chart shows, and of which run; the run is left out where no font can write it."""
    text = ": ".join(filter(None, (write_name(owner), title)))
    families = ["sans-serif", *_find_cjk_families()]
    figure.suptitle(text, fontsize=FONT_PT, color=INK, fontfamily=families)


def write_name(name: str) -> str:
    """The name of a run as a chart shows it, without markup; empty where no font can write it."""
    if not _find_cjk_families() and max(name, default="") >= _FIRST_CJK:
        return ""
    return "".join(c if c.isprintable() else " " for c in name).replace("$", r"\$")


@cache
def _find_cjk_families() -> tuple[str, ...]:
    """The first installed font family that has Chinese characters; matplotlib's own has none."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(family for family in _CJK_FAMILIES if family in installed)[:1]


def render_svg(figure: Figure, name: str, title: str) -> str:
    """A figure as one `<svg>` element; the same figure always gives the same text.

    Args:
        name: of the chart, unique in the page: the ids inside the chart are made from it.
        title: read aloud by screen readers, and shown where the pointer rests.
    """
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    root = ElementTree.fromstring(file.getvalue())
    for element in root.iter():
        _adapt(element)
    for definitions in root.findall("defs"):  # a rule for every element of the page
        for style in definitions.findall("style"):
            definitions.remove(style)
    heading = ElementTree.Element("title")
    heading.text = title
    root.insert(0, heading)
    root.attrib = {
        "xmlns": _SVG.strip("{}"),
        "viewBox": root.attrib["viewBox"],
        "class": "chart",
        "role": "img",
        "aria-label": title,
        "fill": "currentColor",
        "font-family": "system-ui, sans-serif",
        "stroke-linejoin": "round",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element) -> None:
    """Take off namespaces, unused ids and fonts; put variables in place of colours."""
    element.tag = element.tag.removeprefix(_SVG)
    element.text = element.text if element.tag == "text" else None
    element.tail = None
    if element.tag == "g":
        element.attrib.pop("id", None)  # the same in every chart, and never referred to
    if reference := element.attrib.pop(f"{_XLINK}href", None):
        element.set("href", reference)
    if path := element.get("d"):
        element.set("d", re.sub(r"\s+", " ", path).strip())
    if style := element.get("style"):
        style = _FONT_FAMILY.sub("", style)
        element.set("style", _COLOUR.sub(lambda match: _VARIABLES[match[0]], style))
