"""Runs as text: the list, one run, several side by side. Computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from llm_timecycle.comparing.summary import RunSummary
from llm_timecycle.path_names import show_name
from llm_timecycle.profiling.format import format_count
from llm_timecycle.profiling.render.tables import make_table, render

if TYPE_CHECKING:
    from llm_timecycle.profiling.render.rows import Row

UNLIMITED = 100_000
"""Columns of a table that no terminal shows: each run stays on one line."""
HEAD = ("run", "text", "level", "weights", "steps", "min", "loss", "bits", "date")
WRAPPED, LEAST_WRAPPED = 2, 8
"""Columns of names, which are wrapped where there is too little room, and what each needs."""
NOT_CHARGED = "*"
LEGEND = "loss: nats per token; bits: per character, both on the validation text"
LEGEND_NOT_CHARGED = (
    "*: without the spelling of unknown words, which llm-timecycle evaluate RUN charges"
)


def write_list(runs: Sequence[RunSummary], width: int = UNLIMITED) -> str:
    """A table of runs, with a line that says what its figures are.

    No figure is cut or wrapped: where the width is too small for that, the lines are longer.
    """
    rows = list_rows(runs)
    legend = [LEGEND]
    if any(has_uncharged_bits(run) for run in runs):
        legend.append(LEGEND_NOT_CHARGED)
    table = make_table(rows, left=3, wrapped=WRAPPED)
    return render([table, "", *legend], max(width, _measure_least(rows)))


def list_rows(runs: Sequence[RunSummary]) -> list[Row]:
    """The heading and a row for each run."""
    return [HEAD, *map(_write_row, runs)]


def has_uncharged_bits(run: RunSummary) -> bool:
    """Whether its bits per character leave out what unknown words cost."""
    score = run.score
    is_known = score.bits_per_character is not None
    return is_known and score.bits_per_character_with_spelling is None


def _measure_least(rows: Sequence[Row]) -> int:
    """Columns in which every figure has a place."""
    from rich.cells import cell_len

    figures = zip(*(row[WRAPPED:] for row in rows), strict=True)
    widths = [max(map(cell_len, column)) for column in figures]
    return sum(widths) + WRAPPED * LEAST_WRAPPED + 2 * len(HEAD)


def _write_row(run: RunSummary) -> Row:
    state = write_state(run)
    return (
        show_name(run.name) + (f" ({state})" if state else ""),
        show_name(run.text),
        run.level,
        format_count(run.weights),
        write_steps(run),
        write_number(run.minutes, 1),
        write_number(run.score.valid_loss_nats, 4),
        write_bits(run, run.score.bits_per_character),
        write_date(run.date),
    )


def write_steps(run: RunSummary) -> str:
    """The steps done, and those planned where they are more."""
    if run.steps is None:
        return "-"
    is_cut = run.planned_steps is not None and run.planned_steps > run.steps
    return f"{run.steps:,}/{run.planned_steps:,}" if is_cut else f"{run.steps:,}"


def write_bits(run: RunSummary, bits: float | None) -> str:
    """Bits per character or byte, marked where unknown words are not charged."""
    return f"{write_number(bits, 3)}{NOT_CHARGED if has_uncharged_bits(run) else ''}"


def write_number(value: float | None, digits: int) -> str:
    """A number with so many digits behind the point; a dash where there is none.

    >>> write_number(1234.5, 1), write_number(None, 1), write_number(1e9, 2)
    ('1,234.5', '-', '1e+09')
    """
    if value is None:
        return "-"
    return f"{value:,.{digits}f}" if value < 1e6 else f"{value:.4g}"


def write_count(value: int | None) -> str:
    """A count; a dash where there is none."""
    return "-" if value is None else f"{value:,}"


def write_date(date: datetime) -> str:
    """The day, where the reader is."""
    return f"{date.astimezone():%Y-%m-%d}"


def write_state(run: RunSummary) -> str:
    """What is not as with most runs."""
    if run.is_training:
        return "training"
    return "" if run.has_weights else "no weights yet"
