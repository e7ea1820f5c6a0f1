"""Tables for a terminal or as plain text: rows whose columns line up, with bars beside them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llm_timecycle.profiling.render.rows import Row

WIDTH = 100
"""Columns where there is no terminal to ask."""
BAR_CELLS = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"
_COLOURS = ("blue", "yellow", "green", "magenta", "cyan", "red")  # the order of the charts
_TRAILING_SPACES = re.compile(r" +((?:\x1b\[[\d;]*m)*)$", re.MULTILINE)


def render(parts: Iterable[RenderableType], width: int = WIDTH, is_coloured: bool = False) -> str:
    """The parts one below the other; no setting of the environment changes them.

    Args:
        width: columns; longer sentences and cells are wrapped.
        is_coloured: whether to write the colours of an ANSI terminal.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=io.StringIO(),
        width=width,
        color_system="standard" if is_coloured else None,
        force_terminal=is_coloured,
        force_jupyter=False,
        no_color=False,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    with console.capture() as captured:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, Text) and part.no_wrap)
    return _TRAILING_SPACES.sub(r"\1", captured.get()).removesuffix("\n")


def make_table(
    rows: Sequence[Row],
    bars: Sequence[float] = (),
    *,
    left: int = 1,
    wrapped: int | None = None,
    has_head: bool = True,
    are_parts: bool = True,
) -> RenderableType:
    """Rows whose columns line up.

    Args:
        rows: the first is the heading.
        bars: a number for each of the first rows below the heading.
        left: how many columns, from the first, are aligned to the left; the others to the right.
        wrapped: how many columns, from the first, are wrapped where there is too little room; None
            is all.
        are_parts: whether the bars, each in its colour, are parts of a whole; else the longest one
            is full.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=has_head, header_style=""
    )
    head, *body = rows
    for number, name in enumerate(head):
        justify: Literal["left", "right"] = "left" if number < left else "right"
        is_whole = wrapped is not None and number >= wrapped
        table.add_column(Text(name), justify=justify, overflow="fold", no_wrap=is_whole)
    full = (sum if are_parts else max)(bars or (1.0,)) or 1.0
    if bars:
        table.add_column("", no_wrap=True)
    for number, row in enumerate(body):
        cells = [Text(cell) for cell in row]
        if number < len(bars):
            colour = _COLOURS[number % len(_COLOURS) if are_parts else 0]
            cells.append(Text(draw_bar(bars[number] / full), colour))
        table.add_row(*cells)
    return table


def draw_bar(share: float, cells: int = BAR_CELLS) -> str:
    """A bar to an eighth of a cell; its full length means 1.

    >>> draw_bar(0.5, cells=4), draw_bar(0.40625, cells=4), draw_bar(0.0)
    ('██', '█▋', '')
    """
    eighths = round(8 * cells * min(max(share, 0.0), 1.0))
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()
