"""The pictures: well-formed, values where they belong, text escaped and inside."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from llm_timecycle.profiling.render.cycle_diagram import draw_cycle
from llm_timecycle.profiling.render.log_charts import draw_growth, draw_roofline
from llm_timecycle.profiling.render.svg import (
    CHART_STYLE,
    FONT_SIZE,
    WIDTH,
    Scale,
    choose_colour,
    list_ticks,
    make_scale,
    shorten,
)

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.power_law import fit_growth
from llm_timecycle.profiling.render.charts import (
    Bar,
    Curve,
    draw_curves,
    draw_latency_histogram,
    draw_stage_bars,
)
from llm_timecycle.profiling.results import Roofline, RooflinePoint

NASTY = 'a<b>&"c"</text><script>'
ROOF = Roofline(peak_operations_per_s=1e11, bandwidth_bytes_per_s=1e10)
TIMINGS_S = {n: [0.01 + 0.001 * n] * 5 for n in (8, 16, 32, 64)}


def parse(picture: str) -> ElementTree.Element:
    """The picture as a tree, its namespace taken off the names."""
    tree = ElementTree.fromstring(picture)
    for element in tree.iter():
        element.tag = element.tag.removeprefix("{http://www.w3.org/2000/svg}")
    return tree


def list_texts(tree: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in tree.iter("text")]


def read(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.attrib[name]) for name in names]


def read_points(element: ElementTree.Element) -> list[tuple[float, ...]]:
    return [tuple(map(float, pair.split(","))) for pair in element.attrib["points"].split()]


def find_text(tree: ElementTree.Element, text: str) -> ElementTree.Element:
    return next(element for element in tree.iter("text") if element.text == text)


def place(name: str, operations: int, bytes_moved: int, measured_s: float) -> RooflinePoint:
    return RooflinePoint(name, operations, bytes_moved, measured_s, ROOF)


def draw_all(label: str) -> list[str]:
    """Every kind of picture, with a label wherever one can be."""
    times = {"input_s": 0.01, "forward_s": 0.1, "backward_s": 0.2, "update_s": 0.03}
    return [
        draw_stage_bars(label, [Bar(label, 0.1, label), Bar("b", 0.0)]),
        draw_latency_histogram(label, [0.001, 0.002, 0.002, 0.5]),
        draw_curves(label, [Curve(label, [0, 1], [2.0, 1.0])], label, label),
        draw_roofline(label, [place(label, 10**9, 10**8, 0.1), place("none", 0, 8, 1.0)]),
        draw_growth(label, fit_growth(TIMINGS_S), TIMINGS_S, label, {n: n for n in TIMINGS_S}),
        draw_cycle(label, **times, step_s=0.4, token_s=None),
    ]


def test_every_picture_is_a_tree_with_its_title_and_no_markup_from_labels() -> None:
    for picture in draw_all(NASTY):
        tree = parse(picture)
        assert tree.tag == "svg"
        assert tree[0].tag == "title"
        assert tree[0].text == tree.attrib["aria-label"] == NASTY
        assert tree.attrib["role"] == "img"
        assert not list(tree.iter("script"))


def test_every_picture_is_as_wide_as_a_phone_and_its_text_is_inside() -> None:
    for picture in draw_all("forward pass"):
        tree = parse(picture)
        left, top, width, height = map(float, tree.attrib["viewBox"].split())
        assert (left, top, width) == (0, 0, WIDTH)
        assert float(tree.attrib["font-size"]) == FONT_SIZE >= 13
        assert WIDTH <= 430  # 13 units are then 11 pixels or more where the page is 360 wide
        for text in tree.iter("text"):
            x, y = read(text, "x", "y")
            long = len(text.text or "") * 0.5 * FONT_SIZE
            start = x - {"start": 0, "middle": 0.5, "end": 1}[text.attrib["text-anchor"]] * long
            assert start > -10, text.text
            assert start + long < WIDTH + 10, text.text
            assert 0 < y < height, text.text


def test_pictures_need_nothing_from_outside() -> None:
    for picture in draw_all("a"):
        assert picture.count("http") == 1  # the name of SVG itself
        assert "url(" not in picture
    assert "http" not in CHART_STYLE
    assert "prefers-color-scheme: dark" in CHART_STYLE
    for number in range(6):
        assert CHART_STYLE.count(f"--chart-{number + 1}:") == 3  # light, dark, paper
        assert f"var(--chart-{number + 1}, #" in choose_colour(number)


def test_bars_are_as_long_as_their_times() -> None:
    tree = parse(draw_stage_bars("A step", [Bar("one", 0.2, "80 %"), Bar("two", 0.05)]))
    widths = [read(rect, "width")[0] for rect in tree.iter("rect")]
    assert widths == [WIDTH, WIDTH, WIDTH, WIDTH / 4]  # each after its ground
    assert list_texts(tree) == ["one", "200 ms · 80 %", "two", "50.0 ms"]


def test_a_long_label_is_cut_before_its_value() -> None:
    tree = parse(draw_stage_bars("A step", [Bar("a very long name " * 9, 0.2, "80 %, p95 250 ms")]))
    label, value = list_texts(tree)
    assert label.endswith("…")
    assert len(label) + len(value) < 60
    assert shorten("short", 420) == "short"


def test_points_of_curves_are_where_their_values_are() -> None:
    curve = Curve("loss", [0, 5, 10], [4.0, 1.0, 0.0])
    tree = parse(draw_curves("Loss", [curve], "step", "nats", starts_at_zero=True))
    line = next(iter(tree.iter("polyline")))
    (x0, y0), (x1, y1), (x2, y2) = read_points(line)
    assert (x1 - x0, x2 - x0) == pytest.approx(((x2 - x0) / 2, WIDTH - 12 - 72))
    assert (y1 - y0) / (y2 - y0) == pytest.approx(3 / 4)
    zero, four = find_text(tree, "0"), find_text(tree, "4")
    assert read(zero, "y")[0] - 4 == pytest.approx(y2)
    assert read(four, "y")[0] - 4 == pytest.approx(y0)


def test_curves_that_start_above_zero_use_the_height() -> None:
    curve = Curve("loss", [0, 1], [101.0, 100.0])
    (_, above), (_, below) = read_points(
        next(iter(parse(draw_curves("L", [curve], "s", "n")).iter("polyline")))
    )
    assert below - above > 150  # of 220


def test_one_point_is_seen() -> None:
    tree = parse(draw_curves("Loss", [Curve("loss", [3], [4.0])], "step", "nats"))
    assert len(list(tree.iter("circle"))) == 1


def test_the_histogram_counts_and_marks_the_percentiles() -> None:
    latencies_s = [0.001] * 60 + [0.002] * 40
    tree = parse(draw_latency_histogram("Tokens", latencies_s))
    legend_width = 14.0
    bars = [rect for rect in tree.iter("rect") if read(rect, "width") != [legend_width]]
    heights = [read(bar, "height")[0] for bar in bars]
    assert sum(height > 0 for height in heights) == 2
    assert heights[0] / max(heights) == 1
    assert max(heights[1:]) / heights[0] == pytest.approx(40 / 60, abs=1e-3)
    texts = list_texts(tree)
    assert texts[-3:] == ["median 1.00 ms", "p95 2.00 ms", "p99 2.00 ms"]
    assert "+" not in texts


def test_one_stall_does_not_flatten_the_histogram() -> None:
    tree = parse(draw_latency_histogram("Tokens", [*np.linspace(0.001, 0.002, 500), 5.0]))
    assert "+" in list_texts(tree)
    assert "5 s" not in list_texts(tree)
    assert sum(read(rect, "height")[0] > 20 for rect in tree.iter("rect")) > 10


def test_the_roof_bends_at_the_ridge_and_stages_hang_under_it() -> None:
    memory_bound, compute_bound = place("update", 10**8, 10**8, 0.1), place("f", 10**11, 10**9, 2.0)
    tree = parse(draw_roofline("Roofline", [memory_bound, compute_bound]))
    (x0, y0), (x1, y1), (_, y2) = read_points(next(iter(tree.iter("polyline"))))
    assert y1 == y2 < y0
    # A decade is as long everywhere: from the ridge (10) to an intensity of 1, and up to 100.
    dots = [circle for circle in tree.iter("circle") if circle.attrib["r"] == "3"]
    (x_update, y_update), (x_forward, y_forward) = (read(dot, "cx", "cy") for dot in dots)
    assert x1 - x_update == pytest.approx(x_forward - x1, abs=0.1)
    # Update runs at 1e9, a tenth of its roof; forward at half of the peak.
    decade = (y0 - y1) / (x1 - x0) * (x1 - x_update)
    assert y_forward - y1 == pytest.approx(decade * math.log10(2), abs=0.1)
    assert y_update - y1 == pytest.approx(2 * decade, abs=0.1)
    assert list_texts(tree)[-2:] == ["1 update: 10 % of memory", "2 f: 50 % of compute"]


def test_discs_of_equal_stages_do_not_cover_each_other() -> None:
    tree = parse(draw_roofline("Roofline", [place(name, 10**9, 10**8, 0.1) for name in "abcdef"]))
    discs = [read(c, "cx", "cy") for c in tree.iter("circle") if c.attrib["r"] == "9"]
    nearest = min(math.dist(a, b) for i, a in enumerate(discs) for b in discs[:i])
    assert len(discs) == 6
    assert nearest >= 18


def test_the_growth_plot_holds_timings_fit_and_work() -> None:
    counts = {n: 1e6 * n for n in TIMINGS_S}
    tree = parse(draw_growth("Growth", fit_growth(TIMINGS_S), TIMINGS_S, "T", counts))
    fit, work = (read_points(line) for line in tree.iter("polyline"))
    dots = [read(circle, "cx", "cy") for circle in tree.iter("circle")]
    assert len(dots) == 20
    assert dots[-1] == pytest.approx(list(work[-1]), abs=0.5)  # they meet at the largest
    for x, y in dots:
        nearest = min(fit, key=lambda point: abs(point[0] - x))
        assert nearest[1] == pytest.approx(y, abs=3)
    # Sizes that double are equally far apart, and are what the axis names.
    steps = np.diff([x for x, _ in work])
    assert steps == pytest.approx([steps[0]] * 3, abs=0.05)
    assert {"8", "16", "32", "64"} <= set(list_texts(tree))
    assert "after a fixed cost of 10.0 ms" in list_texts(tree)


def test_the_cycle_goes_round_through_its_four_stages() -> None:
    tree = parse(
        draw_cycle(
            "The cycle", input_s=0.01, forward_s=0.1, backward_s=0.2, update_s=0.03,
            step_s=0.4, token_s=0.0008,
        )
    )  # fmt: skip
    names = ("input processing", "forward pass", "backward pass", "generated output")
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (read(find_text(tree, n), "x", "y") for n in names)
    assert (x0, y0, x2, y2) == (x3, y1, x1, y3)
    assert x0 < x1
    assert y0 < y3
    texts = list_texts(tree)
    assert {"100 ms", "25 % of a step", "800 µs", "a token", "update", "30.0 ms"} <= set(texts)
    assert "400 ms a step" in texts
    assert len(list(tree.iter("polygon"))) == 5


def test_ticks_are_round_and_few() -> None:
    assert list_ticks(Scale(0, 0.013, 0, 1)) == [0, 0.005, 0.01]
    assert list_ticks(Scale(-3, 8, 0, 1)) == [0, 5]
    assert list_ticks(Scale(2, 60, 0, 1, is_log=True)) == [2, 5, 10, 20, 50]
    assert list_ticks(Scale(0.5, 5e9, 0, 1, is_log=True)) == [1, 100, 1e4, 1e6, 1e8]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: draw_stage_bars("t", []), "stage bars: expected at least one"),
        (lambda: draw_stage_bars("t", [Bar("a", -1.0)]), "times of 0 or more"),
        (lambda: draw_latency_histogram("t", []), "latencies: expected at least one"),
        (lambda: draw_latency_histogram("t", [math.nan]), "all of 0 or more"),
        (lambda: draw_curves("t", [], "x", "y"), "curves: expected at least one"),
        (lambda: draw_curves("t", [Curve("a", [1], [])], "x", "y"), "a y for each x"),
        (lambda: draw_curves("t", [Curve("a", [1], [math.inf])], "x", "y"), "finite values"),
        (lambda: draw_roofline("t", []), "roofline: expected at least one stage"),
        (lambda: make_scale([0.0], 0, 1, is_log=True), "values above 0, received 0.0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        draw()
