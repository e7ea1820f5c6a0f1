"""The parts of a page: escaped text, tables, sections, and the style of a report.

The style works in light and dark, on a phone, and on paper, where tables and pictures stay whole.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from llm_timecycle.profiling.render.svg import CHART_STYLE

PAGE_STYLE = (
    CHART_STYLE
    + """
:root { --ground: #ffffff; --ink: #1c2024; --faint: #5b6570; --line: #d5dae0; --raised: #f4f6f8; }
@media (prefers-color-scheme: dark) { :root { --ground: #16181c; --ink: #e6e8ea; --faint: #a0a8b2;
  --line: #363b42; --raised: #1f2328; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 72rem; background: var(--ground);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; border-bottom: 1px solid var(--line); }
h3 { margin: 0 0 .5rem; font-size: 1rem; }
p { margin: .5rem 0; max-width: 46rem; }
.faint, figcaption, dt { color: var(--faint); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0 0; padding: 0; list-style: none; }
.figures li { padding: .6rem .8rem; background: var(--raised); border-radius: .5rem; }
.figures b { display: block; font-size: 1.25rem; white-space: nowrap; }
.figures span { color: var(--faint); font-size: .85rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr));
  gap: 1.5rem 2.5rem; align-items: start; }
.pair > * { min-width: 0; }
figure { margin: 0; }
figcaption { font-size: .9rem; margin-bottom: .4rem; }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: pre; }
th:last-child, td:last-child { padding-right: 0; }
th { color: var(--faint); font-weight: normal; border-bottom: 1px solid var(--line); }
dl { margin: .5rem 0; display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem;
  font-size: .9rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.settings { columns: 22rem; column-gap: 2.5rem; }
.settings section { break-inside: avoid; margin-bottom: 1rem; }
ol { padding-left: 1.4rem; }
ol li { margin-bottom: .75rem; }
code { padding: .1rem .3rem; background: var(--raised); border-radius: .25rem; font-size: .85rem;
  overflow-wrap: anywhere; }
@media (max-width: 30rem) { table { font-size: .8rem; } th, td { padding-right: .5rem; }
  dl.wide { grid-template-columns: 1fr; gap: 0; }
  dl.wide dd { margin-bottom: .5rem; } }
@media print { :root { --ground: #ffffff; --ink: #000000; --faint: #444444; --line: #bbbbbb;
  --raised: #f2f2f2; color-scheme: light; }
  @page { margin: 15mm; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  h2 { break-after: avoid; margin-top: 1.5rem; }
  figure, table, li, .whole { break-inside: avoid; }
  .scroll { overflow: visible; }
  table, dl, code { font-size: 8pt; }
  th, td { padding: .15rem .5rem .15rem 0; }
  .pair { grid-template-columns: 1fr 1fr; gap: 1rem; }
  svg.chart { max-width: 82mm; } }
"""
)


def render_table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its heading; it scrolls by itself where it is too wide.

    >>> render_table([("stage", "time"), ("a < b", "1 s")])[-66:]
    '<tbody><tr><td>a &lt; b</td><td>1 s</td></tr></tbody></table></div>'
    """
    head, *body = rows
    heading = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body
    )
    table = f"<table><thead><tr>{heading}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'


def render_section(title: str, *parts: str) -> str:
    """A section under its heading; empty parts are left out."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{join_parts(parts)}\n</section>"


def render_pair(*parts: str) -> str:
    """Parts side by side where there is room."""
    return f'<div class="pair">{join_parts(f"<div>{part}</div>" for part in parts if part)}</div>'


def render_figure(caption: str, picture: str) -> str:
    """A picture under what it shows."""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{picture}</figure>"


def render_paragraph(text: str, kind: str = "") -> str:
    """A paragraph; empty where there is nothing to say."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{escape(text)}</p>" if text else ""


def render_terms(pairs: Iterable[tuple[str, str]], kind: str = "") -> str:
    """Names, each with what belongs to it."""
    attribute = f' class="{kind}"' if kind else ""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f"<dl{attribute}>{items}</dl>"


def join_parts(parts: Iterable[str]) -> str:
    """Parts one below the other, without the empty ones."""
    return "\n".join(part for part in parts if part)


def escape(text: str) -> str:
    """Text as it may stand in a page, in an attribute too."""
    return html.escape(text, quote=True)
