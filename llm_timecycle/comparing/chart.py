"""The curves of several runs in one chart, on `matplotlib`'s object API.

Import this module only where a chart is drawn: matplotlib takes a moment.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib import ticker
from matplotlib.figure import Figure

from llm_timecycle.comparing.comparison import Curve
from llm_timecycle.errors import UsageError
from llm_timecycle.files import explain_os_error, write_durably
from llm_timecycle.path_names import show_name
from llm_timecycle.profiling.render.chart_style import (
    SERIES,
    add_legend,
    add_title,
    make_plot,
    write_name,
)
from llm_timecycle.profiling.render.html import check_report_path

_STYLES = ("-", "--", "-.", ":")
LEGEND_PT, PLOT_PT = 18.0, 260.0
_METADATA = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def draw_curves(curves: Sequence[Curve], axis: str, unit: str) -> Figure:
    """The validation losses of each run, and its training losses as a thin line.

    Args:
        axis: what the curves are drawn over. unit: of the losses.
    """
    label = "step" if axis == "steps" else axis
    figure, axes = make_plot(label, unit, PLOT_PT + LEGEND_PT * len(curves))
    for number, curve in enumerate(curves):
        colour = SERIES[number % len(SERIES)]
        style = _STYLES[number // len(SERIES) % len(_STYLES)]
        name = write_name(show_name(curve.name)) or f"run {number + 1}"
        name = f"./{name}" if name[0] == "_" else name  # which a legend would leave out
        if curve.train:
            axes.plot(*zip(*curve.train, strict=True), style, color=colour, alpha=0.4, linewidth=1)
        places, losses = zip(*curve.valid, strict=True) if curve.valid else ((), ())
        axes.plot(places, losses, style, color=colour, marker=".", label=name)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6))
    if axis != "minutes":
        axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
    add_title(figure, "", "Validation loss (thin: training loss)")
    add_legend(figure)
    return figure


def check_chart_path(path: str) -> Path:
    """The path of a chart, if one can be written there; an older one is replaced.

    Raises:
        UsageError: nothing can be written there, or its suffix is not that of a chart.
    """
    checked = check_report_path(path, "curves.png")
    if checked.suffix.lower().removeprefix(".") not in _METADATA:
        kinds = ", ".join(f".{kind}" for kind in _METADATA)
        raise UsageError(f"received {path}; expected a name that ends in one of {kinds}")
    return checked


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as its path's suffix says, whole or not at all; the same figure, same bytes.

    Raises:
        UsageError: it cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "llm-timecycle"}):
        figure.savefig(file, format=kind, metadata=_METADATA[kind])
    try:
        write_durably(path, file.getvalue())
    except OSError as error:
        raise UsageError(f"{path}: {explain_os_error(error)}") from error
