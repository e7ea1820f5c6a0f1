"""A few named figures as a table: for the terminal, and for a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

Figure = str | float | int | None


def write_table(figures: Mapping[str, Figure]) -> str:
    """The figures one below the other.

    >>> print(write_table({"perplexity": 78.25, "tokens": 12345}))
    perplexity                       78.2500
    tokens                            12,345
    """
    return "\n".join(f"{_name(key):24}{write_figure(value):>16}" for key, value in figures.items())


def write_html_table(title: str, figures: Mapping[str, Figure]) -> str:
    """The figures as an HTML table, for `_repr_html_`.

    >>> write_html_table("my run", {"tokens": 12345})
    '<table><caption>my run</caption><tr><th>tokens</th><td>12,345</td></tr></table>'
    """
    rows = "".join(
        f"<tr><th>{escape(_name(key))}</th><td>{escape(write_figure(value).strip())}</td></tr>"
        for key, value in figures.items()
    )
    return f"<table><caption>{escape(title)}</caption>{rows}</table>"


def _name(key: str) -> str:
    return key.replace("_", " ")


def write_figure(value: Figure) -> str:
    """A figure as the tables show it.

    >>> write_figure(0.5), write_figure(1234), write_figure(None)
    ('0.5000', '1,234', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4f}" if value < 1e6 else f"{value:.4g}"
