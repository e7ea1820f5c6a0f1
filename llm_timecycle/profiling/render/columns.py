"""Columns of text, bars made of characters, and colours for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

BAR_CELLS = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"
_COLOURS = (34, 33, 32, 35, 36, 31)  # of ANSI terminals, in the order of the report's pictures
_BOLD = 1


def align_columns(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Rows of cells as lines whose columns stand one below the other.

    Args:
        rows: the first is the heading; all of one length.
        left: how many columns, from the first, are set to the left; the others to the right.

    >>> align_columns([("stage", "median"), ("forward", "1.20 s")])
    ['stage    median', 'forward  1.20 s']
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def draw_bar(share: float, cells: int = BAR_CELLS) -> str:
    """A bar whose full length stands for 1, to an eighth of a cell.

    >>> draw_bar(0.5, cells=4), draw_bar(0.40625, cells=4), draw_bar(0.0)
    ('██', '█▋', '')
    """
    eighths = round(8 * cells * min(max(share, 0.0), 1.0))
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def paint(text: str, number: int, is_coloured: bool) -> str:
    """Text in the colour of a series, from 0 upwards.

    >>> paint("██", 0, is_coloured=True), paint("██", 0, is_coloured=False)
    ('\\x1b[34m██\\x1b[0m', '██')
    """
    return _escape(text, _COLOURS[number % len(_COLOURS)]) if is_coloured else text


def embolden(text: str, is_coloured: bool) -> str:
    """Text as a heading."""
    return _escape(text, _BOLD) if is_coloured else text


def _escape(text: str, code: int) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if text else text
