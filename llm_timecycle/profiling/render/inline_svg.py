"""A chart as SVG inside a page: text as text, and the page's colours in place of its own.

Text and lines take the colour of the text around the chart (`currentColor`); the series take CSS
variables, which `report.css` sets for light, dark and print. Each variable has a fallback that is
legible on both, for pages without that style, such as a notebook.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
from matplotlib.figure import Figure

from llm_timecycle.profiling.render.chart_style import GROUND, INK, SERIES

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_FALLBACKS = ("#4a86cf", "#d9772b", "#3f9f77", "#b262b0", "#b08d1e", "#d05568")
_VARIABLES = {
    INK: "currentColor",
    GROUND: "var(--ground, transparent)",
    **{
        colour: f"var(--chart-{number}, {fallback})"
        for number, (colour, fallback) in enumerate(zip(SERIES, _FALLBACKS, strict=True), start=1)
    },
}
_COLOUR = re.compile("|".join(_VARIABLES))
_FONT_FAMILY = re.compile(r"font-family: [^;]*;? ?")


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
