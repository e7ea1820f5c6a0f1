"""The charts as figures: what they are called, and values where they belong."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.api import ProfileResult
from llm_timecycle.profiling.render import chart_style
from llm_timecycle.profiling.render.charts import (
    draw_chart,
    draw_growth,
    draw_latencies,
    draw_roofline,
    draw_speed_up,
    draw_stages,
    draw_steps,
    list_charts,
)
from llm_timecycle.profiling.results import RooflinePoint
from tests.profiling.profiles import ROOF, make_cycle, make_growth, make_profile, make_sweep

NAMES = (
    *("cycle", "stages", "layers", "steps", "roofline", "growth:T", "gaps", "batches"),
    *("parallel:threads", "parallel:workers", "loss", "throughput"),
)


def get_axes(figure: Figure) -> Axes:
    [axes] = figure.axes
    return axes


def read_legend(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def find_line(figure: Figure, label: str) -> Line2D:
    return next(line for line in get_axes(figure).lines if str(line.get_label()).startswith(label))


def read_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in get_axes(figure).texts if text.get_text()]


def test_every_measured_part_has_its_charts() -> None:
    result = ProfileResult(make_profile(growth=(make_growth("T"), make_growth("length"))))
    assert set(result.figures) == {*NAMES, "growth:length"}
    bare = make_profile(
        training=None, points=(), growth=(), inference=None, sweeps=(), workers=None, history=()
    )
    assert ProfileResult(bare).figures == ()


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_can_be_saved_in_every_format(name: str) -> None:
    figure = ProfileResult(make_profile()).figure(name)
    for format_, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        file = io.BytesIO()
        figure.savefig(file, format=format_)
        assert file.getvalue().startswith(start)
    assert figure.get_suptitle().startswith("tiny: ")


@pytest.mark.parametrize("name", ["growth:H", "Roofline", ""])
def test_a_chart_that_is_unknown_or_was_not_measured_is_refused_with_those_available(
    name: str,
) -> None:
    with pytest.raises(UsageError) as caught:
        ProfileResult(make_profile()).figure(name)
    assert repr(name) in str(caught.value)
    for available in NAMES:
        assert available in str(caught.value)


def test_drawing_leaves_the_state_of_matplotlib_alone() -> None:
    code = (
        "import sys, matplotlib\n"
        "p = matplotlib.rcParams\n"
        "def read(): return [p[key] for key in p if key != 'backend']\n"
        "before = read()\n"
        "from tests.profiling.profiles import make_profile\n"
        "from llm_timecycle.profiling.api import ProfileResult\n"
        "ProfileResult(make_profile()).to_html()\n"
        "print('matplotlib.pyplot' in sys.modules, read() == before)\n"
    )
    printed = subprocess.check_output([sys.executable, "-W", "error", "-c", code], text=True)
    assert printed.split() == ["False", "True"]


def test_a_title_has_any_name_and_no_markup_of_it() -> None:
    for name in ("中文语料", "$x^2$ a$b", "line\nbreak \x07"):
        figure = draw_chart(make_profile(name=name), "stages")
        figure.savefig(io.BytesIO(), format="png")  # a missing character would warn
        assert "\n" not in figure.get_suptitle()


def test_a_name_that_no_font_can_write_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart_style, "_find_cjk_families", lambda: ())
    figure = draw_chart(make_profile(name="中文语料"), "stages")
    assert figure.get_suptitle() == "Stages of a training step"


def test_a_notebook_shows_a_figure_without_pyplot() -> None:
    assert "<svg" in draw_chart(make_profile(), "stages")._repr_svg_()  # type: ignore[attr-defined]


def test_bars_are_as_long_as_their_times() -> None:
    figure = draw_stages(make_cycle())
    [bars] = get_axes(figure).containers
    assert [bar.get_width() for bar in bars] == [0.001, 0.1, 0.2, 0.03, 0.002]  # type: ignore[attr-defined]
    assert read_texts(figure)[2] == "200 ms · 60.1 %"
    assert get_axes(figure).yaxis_inverted()  # the first stage is at the top


def test_steps_are_in_the_order_of_measurement() -> None:
    figure = draw_steps([0.3, 0.1, 0.2])
    assert list(get_axes(figure).lines[0].get_ydata()) == [0.3, 0.1, 0.2]
    assert list(get_axes(figure).lines[0].get_xdata()) == [1, 2, 3]
    assert read_legend(figure) == ["median 200 ms", "p95 290 ms"]


def test_the_histogram_counts_and_marks_the_percentiles() -> None:
    figure = draw_latencies([0.001] * 60 + [0.002] * 40)
    [bars] = get_axes(figure).containers
    heights = [bar.get_height() for bar in bars if bar.get_height()]  # type: ignore[attr-defined]
    assert heights == [60, 40]
    assert read_legend(figure) == ["median 1.00 ms", "p95 2.00 ms", "p99 2.00 ms"]
    assert read_texts(figure) == []


def test_one_stall_does_not_flatten_the_histogram() -> None:
    figure = draw_latencies([*np.linspace(0.001, 0.002, 500), 5.0])
    assert read_texts(figure) == ["+"]
    assert get_axes(figure).get_xlim()[1] < 0.003


@settings(max_examples=15)
@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=60))
def test_the_histogram_loses_no_latency(latencies_s: list[float]) -> None:
    [bars] = get_axes(draw_latencies(latencies_s)).containers
    assert sum(bar.get_height() for bar in bars) == len(latencies_s)  # type: ignore[attr-defined]


def test_the_roof_bends_at_the_ridge_and_stages_hang_under_it() -> None:
    points = [
        RooflinePoint("update", 10**8, 10**8, 0.1, ROOF),
        RooflinePoint("forward", 10**11, 10**9, 0.5, ROOF),
        RooflinePoint("backward", 0, 10**9, 0.5, ROOF),
    ]
    figure = draw_roofline(points)
    assert get_axes(figure).get_xscale() == get_axes(figure).get_yscale() == "log"
    roof = find_line(figure, "roofline")
    intensities, rates = np.asarray(roof.get_xdata()), np.asarray(roof.get_ydata())
    assert intensities[1] == ROOF.ridge == 20
    assert rates[1] == rates[2] == 400e9
    assert rates[0] == pytest.approx(20e9 * intensities[0])
    forward = find_line(figure, "forward")
    assert (forward.get_xdata()[0], forward.get_ydata()[0]) == (100, 2e11)  # type: ignore[index]
    assert read_legend(figure) == [
        "roofline: 400 GFLOP/s, 20.0 GB/s",
        "update: 5 % of the memory bound",  # 1e8 bytes take 5 ms of 100
        "forward: 50 % of the compute bound",
    ]


def test_the_growth_chart_holds_timings_fit_and_flops() -> None:
    growth = make_growth()
    figure = draw_growth(growth)
    axes = get_axes(figure)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("T, sequence length", "time")
    assert len(axes.lines[0].get_xdata()) == 25  # type: ignore[arg-type]
    fit, flops = find_line(figure, "fit"), find_line(figure, "if it grew")
    for size, time_s in zip(fit.get_xdata(), fit.get_ydata(), strict=True):  # type: ignore[call-overload]
        assert time_s == pytest.approx(growth.fit.predict_s(size))
    assert flops.get_ydata()[-1] == pytest.approx(growth.fit.predict_s(128))  # type: ignore[index]
    assert list(axes.get_xticks()) == [128, 64, 32, 16, 8]
    assert read_legend(figure)[0].startswith("fit: 12.0 ms + 1.00 ms x T^1.00 (")


def test_the_speed_up_chart_holds_the_measured_and_amdahls_law() -> None:
    figure = draw_speed_up(make_sweep())
    assert list(find_line(figure, "measured").get_ydata()) == pytest.approx([1, 1 / 0.6, 2.5])
    assert list(find_line(figure, "Amdahl").get_ydata()) == pytest.approx(
        [1, 1 / 0.6, 2.5], abs=0.01
    )
    assert get_axes(figure).get_ylim()[0] == 0


def test_losses_are_where_the_history_has_them() -> None:
    figure = list_charts(make_profile())["loss"].draw()
    assert list(find_line(figure, "training").get_xdata()) == [2, 4]
    assert list(find_line(figure, "validation").get_xdata()) == [4]


@settings(max_examples=15)
@given(st.floats(1e-9, 1e9), st.floats(1.05, 1e8))
def test_a_logarithmic_axis_always_has_a_few_values(low: float, ratio: float) -> None:
    _, axes = chart_style.make_plot("x", "y", 200)
    axes.set_yscale("log")
    chart_style.mark_log_axis(axes.yaxis, low, low * ratio, "s")
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= low * ratio]
    assert 1 <= len(ticks) <= 9


@pytest.mark.parametrize("name", NAMES)
def test_text_stays_inside_the_figure(name: str) -> None:
    figure = list_charts(make_profile())[name].draw()
    figure.savefig(io.BytesIO(), format="png")  # lays it out
    axes = get_axes(figure)
    texts = [*axes.texts, axes.xaxis.label, axes.yaxis.label]
    for artist in (*figure.legends, *(text for text in texts if text.get_text())):
        box = artist.get_window_extent()
        assert min(box.x0, box.y0) >= 0, artist
        assert box.x1 <= figure.bbox.width, artist
        assert box.y1 <= figure.bbox.height, artist
