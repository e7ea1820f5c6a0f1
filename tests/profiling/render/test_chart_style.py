"""A chart inside a page: well-formed, text as text, the page's colours, nothing from outside."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from llm_timecycle.profiling.render.chart_style import render_svg
from llm_timecycle.profiling.render.charts import list_charts
from tests.profiling.profiles import make_profile

CHARTS = list_charts(make_profile())
NASTY = 'a<b>&"c"</text><script>'


def render(name: str, title: str = "A chart") -> str:
    return render_svg(CHARTS[name].draw(), name, title)


@pytest.fixture(scope="module")
def pictures() -> dict[str, str]:
    return {name: render(name) for name in CHARTS}


def parse(picture: str) -> ElementTree.Element:
    """The picture as a tree, its namespace taken off the names."""
    tree = ElementTree.fromstring(picture)
    for element in tree.iter():
        element.tag = element.tag.removeprefix("{http://www.w3.org/2000/svg}")
    return tree


def test_it_is_read_aloud_by_its_title_and_scales_with_the_page() -> None:
    tree = parse(render("stages", NASTY))
    assert (tree.tag, tree[0].tag) == ("svg", "title")
    assert tree[0].text == tree.attrib["aria-label"] == NASTY
    assert tree.attrib["role"] == "img"
    assert {"width", "height"}.isdisjoint(tree.attrib)
    assert not list(tree.iter("script"))


def test_text_is_text_in_the_font_of_the_page(pictures: dict[str, str]) -> None:
    texts = [text.text for text in parse(pictures["stages"]).iter("text")]
    assert {"forward", "backward", "200 ms · 60.1 %", "median time"} <= set(texts)
    for picture in pictures.values():
        assert picture.count("font-family") == 1
        assert "DejaVu" not in picture


def test_colours_are_those_of_the_page(pictures: dict[str, str]) -> None:
    for name, picture in pictures.items():
        outside_variables = re.sub(r"var\(--[\w-]+, [^)]+\)", "", picture)
        assert not re.search(r"(?:fill|stroke): #", outside_variables), name
    assert "var(--chart-3, #" in pictures["stages"]
    assert "currentColor" in pictures["stages"]


def test_nothing_comes_from_outside_and_no_rule_reaches_the_page(pictures: dict[str, str]) -> None:
    for picture in pictures.values():
        assert picture.count("http") == 1  # the name of SVG itself
        assert not re.search(r"url\((?!#)|href=\"(?!#)|@import", picture)
        assert not {"style", "metadata"} & {element.tag for element in parse(picture).iter()}


def test_ids_are_unique_across_the_page_and_every_reference_has_one(
    pictures: dict[str, str],
) -> None:
    ids = re.findall(r' id="([^"]+)"', "".join(pictures.values()))
    assert len(ids) == len(set(ids)) > 0
    for picture in pictures.values():
        assert set(re.findall(r'(?:url\(|href=")#([\w-]+)', picture)) <= set(ids)


def test_the_same_figures_give_the_same_bytes(pictures: dict[str, str]) -> None:
    for name in ("cycle", "growth:T", "gaps"):
        assert render(name) == pictures[name]
