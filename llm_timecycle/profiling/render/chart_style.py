"""How charts look: colours, text, axes and legends, on `matplotlib`'s object API."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from matplotlib import font_manager, ticker
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure

from llm_timecycle.profiling.format import format_duration
from llm_timecycle.profiling.results import TRAINING_STAGES

INK, GROUND = "#1c2024", "#ffffff"
SERIES = ("#2265b3", "#c05a0c", "#1f7d57", "#93408f", "#8a6a00", "#b8324a")
STAGE_COLOURS = dict(zip((*TRAINING_STAGES, "output"), SERIES, strict=True))
WIDTH_PT, FONT_PT = 400.0, 12.0  # text of 11 pixels where a phone shows the chart 360 wide

_CJK_FAMILIES = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei"),
    *("PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Arial Unicode MS"),
)
_FIRST_CJK = "\u2e80"


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
    names: Sequence[str],
    labels: Sequence[str],
    ends: Sequence[float],
    x_label: str,
    unit: str = "s",
) -> tuple[Figure, Axes]:
    """The axes of horizontal bars, without the bars: names at the left, the first at the top.

    Args:
        labels: each is written behind the end of its bar.
        ends: how far each bar will reach.
        unit: of the x axis, where values take SI prefixes.
    """
    figure, axes = make_plot(x_label, "", 62 + 30 * len(names))
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    longest = max(ends) or 1.0
    axes.set_xlim(0, 1.65 * longest)
    for row, (label, end) in enumerate(zip(labels, ends, strict=True)):
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
    figure.legend(
        loc="outside lower left", ncols=columns, frameon=False, fontsize=FONT_PT, labelcolor=INK,
        handlelength=1.5, columnspacing=1.2, borderpad=0, borderaxespad=0.25,
    )  # fmt: skip


def add_title(figure: Figure, owner: str, title: str) -> None:
    """What the chart shows, and of which run; the run is left out where no font can write it."""
    families = _find_cjk_families()
    owner = "".join(c if c.isprintable() else " " for c in owner).replace("$", r"\$")
    if not families and max(owner, default="") >= _FIRST_CJK:
        owner = ""
    text = ": ".join(filter(None, (owner, title)))
    figure.suptitle(text, fontsize=FONT_PT, color=INK, fontfamily=["sans-serif", *families])


@cache
def _find_cjk_families() -> tuple[str, ...]:
    """The first installed font family that has Chinese characters; matplotlib's own has none."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(family for family in _CJK_FAMILIES if family in installed)[:1]
