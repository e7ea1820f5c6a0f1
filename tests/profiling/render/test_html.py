"""The report: one page that refers to nothing outside, with every figure, whatever names hold."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from syrupy.assertion import SnapshotAssertion

from llm_timecycle.config.settings import DataSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.render.html import (
    check_report_path,
    render_summary,
    render_table,
    save_report,
    write_report,
)
from llm_timecycle.profiling.results import Advice
from tests.profiling.profiles import make_bare_profile, make_growth, make_profile, make_settings

NASTY = "a<script>alert(1)</script>&\"'"
VOID = {"meta", "br"}
# What of a page makes a browser ask for another file.
REFERRING = {"src", "href", "xlink:href", "action", "data", "srcset", "poster", "background"}


class Page(HTMLParser):
    """Every tag closed in its turn; texts and attributes kept."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def html() -> str:
    return write_report(make_profile())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_is_as_it_was(html: str, snapshot: SnapshotAssertion) -> None:
    html = re.sub(r'<svg [^>]*aria-label="([^"]*)".*?</svg>', r"[\1]", html)
    style = re.compile(r"<style>.*?</style>", re.DOTALL)
    settings = re.compile(r'<div class="settings">.*?</div>', re.DOTALL)
    assert settings.sub("[settings]", style.sub("[style]", html)) == snapshot


def test_it_has_every_chart_and_every_section(html: str, page: Page) -> None:
    assert re.findall("<h2>(.*?)</h2>", html) == EXPECTED_SECTIONS
    titles = [value for key, value in page.attributes if key == "aria-label"]
    assert titles == [
        "The time cycle",
        "Stages of a training step",
        "Time of a training step",
        "Layers of a training step",
        "Roofline",
        "Growth along T",
        "Inter-token latency (ITL)",
        "Generation by batch size",
        "Speed-up by threads",
        "Speed-up by workers on this machine",
        "Loss of the run",
        "Throughput of the run",
    ]


EXPECTED_SECTIONS = [
    "The cycle",
    "Layers",
    "Suggestions",
    "Roofline",
    "Growth",
    "Inference",
    "Parallelism",
    "Workers",
    "The run",
    "Measured with",
]


@pytest.mark.parametrize(
    "figure",
    [
        "1.009",  # closure
        "60.1 %",  # share of the backward pass
        "388",  # tokens a second
        "400 GFLOP/s",
        "50.0 %",  # of the ceiling
        "62.5 %",  # efficiency of four workers
        "A Processor",
        "3.11.2",
        "learning_rate",
        "model.tie_embeddings=true",
        "more replicas here only share the same cores",
        "time per output token: (end to end - TTFT) / (N - 1), for N tokens of one request",
    ],
)
def test_it_holds_the_figures(page: Page, figure: str) -> None:
    assert any(figure in text for text in page.texts)


def test_it_refers_to_nothing_outside_and_forbids_itself_to(html: str, page: Page) -> None:
    targets = [value for key, value in page.attributes if key in REFERRING]
    assert all(str(target).startswith("#") for target in targets)  # a marker of the same chart
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    assert set(re.findall(r"https?://[^\s\"']+", html)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\((?!#)|@import|javascript:", html)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_its_style_is_for_phones_paper_and_the_dark(html: str) -> None:
    assert 'name="viewport"' in html
    style = html.partition("<style>")[2].partition("</style>")[0]
    for rule in ("prefers-color-scheme: dark", "@media print", "max-width: 30rem"):
        assert rule in style
    assert style.count("{") == style.count("}")


def test_every_colour_of_a_chart_is_set_for_light_and_dark(html: str) -> None:
    used = set(re.findall(r"var\((--chart-\d)", html))
    assert len(used) > 4
    for variable in used:
        assert html.count(f"{variable}: #") == 2


def test_nothing_that_a_name_holds_becomes_markup() -> None:
    nasty = make_profile(
        name=NASTY,
        machine={"processor": NASTY},
        versions={NASTY: NASTY},
        settings=make_settings().model_copy(update={"data": DataSettings(train=NASTY)}),
        growth=(make_growth(NASTY),),
        advice=(Advice(NASTY, NASTY, 0.1, (NASTY,)),),
        limits={NASTY: 1e9},
    )
    found = Page(write_report(nasty))
    assert "script" not in found.tags
    assert sum(NASTY in text for text in found.texts) > 8
    assert "script" not in Page(render_summary(nasty)).tags
    assert "script" not in Page(render_table([(NASTY,), (NASTY,)])).tags


def test_a_profile_of_less_makes_a_shorter_page() -> None:
    bare = make_bare_profile()
    found = Page(write_report(bare))
    assert "svg" not in found.tags
    assert not set(EXPECTED_SECTIONS[:-1]) & set(found.texts)
    assert "Measured with" in found.texts


def test_a_notebook_shows_the_cycle_without_a_page_around_it() -> None:
    found = Page(render_summary(make_profile()))
    assert {"html", "body", "style"}.isdisjoint(found.tags)
    assert found.tags.count("svg") == 1
    assert any("closure 1.009" in text for text in found.texts)


def test_a_report_is_written_in_the_place_of_an_older_one(tmp_path) -> None:
    path = tmp_path / "my.html"
    path.write_text("old")
    save_report("<p>中</p>", check_report_path(str(path)))
    assert path.read_text(encoding="utf-8") == "<p>中</p>"
    assert [file.name for file in tmp_path.iterdir()] == ["my.html"]


def test_a_report_that_cannot_be_written_is_refused_before(tmp_path) -> None:
    for path, message in (
        (str(tmp_path), "is a directory; expected a file"),
        ("", "is empty; expected a file"),
        (str(tmp_path / "nowhere" / "my.html"), r"there is no directory .*nowhere"),
        ("/proc/my.html", r"cannot be written to|No such file|not permitted"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            check_report_path(path)
        assert "--" not in str(caught.value)  # an option is the command line's
