"""The curves of runs in one chart."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from llm_timecycle.comparing.chart import check_chart_path, draw_curves, save_figure
from llm_timecycle.comparing.comparison import Curve
from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.render import chart_style

CURVE = Curve("runs/a", ((10, 2.0), (20, 1.5)), ((5, 3.0), (10, 1.8), (15, 1.6)))
STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "PDF": b"%PDF"}


def draw(*names: str) -> Figure:
    curves = [Curve(name, CURVE.valid, CURVE.train) for name in names]
    return draw_curves(curves, "steps", "nats per token")


def list_labels(figure: Figure) -> list[str]:
    [legend] = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_each_run_has_a_curve_and_a_thin_one() -> None:
    figure = draw_curves([CURVE, Curve("runs/b", (), CURVE.train)], "minutes", "bits per character")
    [axes] = figure.get_axes()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("minutes", "bits per character")
    drawn = [[*map(tuple, line.get_xydata())] for line in axes.get_lines()]  # type: ignore[arg-type]
    assert drawn == [list(CURVE.train), list(CURVE.valid), list(CURVE.train), []]
    assert list_labels(figure) == ["runs/a", "runs/b"]


def test_every_run_is_in_the_legend_whatever_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["_a", "$x^2$", "a\nb", "x" * 300]
    figure = draw(*names)
    figure.savefig(io.BytesIO(), format="png")  # a missing character would warn
    labels = list_labels(figure)
    assert labels[:3] == ["./_a", r"\$x^2\$", r"a\nb"]
    assert len(labels[3]) <= 80
    monkeypatch.setattr(chart_style, "_find_cjk_families", lambda: ())
    assert list_labels(draw("runs/a", "小说")) == ["runs/a", "run 2"]


def test_many_runs_are_told_apart() -> None:
    [axes] = draw(*map(str, range(20))).get_axes()
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}
    assert len(looks) == 20


@pytest.mark.parametrize(
    ("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")]
)
def test_a_chart_is_the_same_file_each_time(tmp_path: Path, kind: str, start: bytes) -> None:
    files = [tmp_path / f"{name}.{kind}" for name in "ab"]
    for file in files:
        save_figure(draw("runs/a"), check_chart_path(str(file)))
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert first.startswith(STARTS[kind])


def test_a_path_that_is_no_chart_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "a.html", tmp_path / "a"):
        with pytest.raises(UsageError, match=r"one of \.png, \.svg, \.pdf"):
            check_chart_path(str(path))
    with pytest.raises(UsageError, match=r"is a directory; expected a file such as curves\.png"):
        check_chart_path(str(tmp_path))
    with pytest.raises(UsageError, match=r"null is not a regular file; expected a file such as cu"):
        check_chart_path("/dev/null")
    with pytest.raises(UsageError, match="there is no directory"):
        check_chart_path(str(tmp_path / "nowhere/a.png"))
