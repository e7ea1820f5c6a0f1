"""`llm-timecycle runs`: a table of runs, everything of one, several side by side."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from llm_timecycle.cli.options import HELP, PathName
from llm_timecycle.cli.printing import escape_controls, print_json, print_text
from llm_timecycle.comparing.comparison import AXES, Axis, RunComparison, compare_runs, list_curves
from llm_timecycle.comparing.details import read_details
from llm_timecycle.comparing.listing import (
    HOW_TO_BEGIN,
    SORT_KEYS,
    list_runs,
    list_shipped,
    sort_runs,
)
from llm_timecycle.errors import UsageError


@click.group("runs", context_settings=HELP)
def command() -> None:
    """List, show and compare trained runs."""


@command.command("list", context_settings=HELP)
@click.argument("directory", metavar="[DIRECTORY]", type=PathName(), required=False)
@click.option(
    "--sort",
    "key",
    type=click.Choice(SORT_KEYS),
    default="date",
    help="What to sort by; the newest, the best or the smallest come first.  [default: date]",
)
@click.option("--reverse", is_flag=True, help="Sort the other way round.")
@click.option(
    "--shipped",
    is_flag=True,
    help="List the runs that come with the program, not a directory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(directory: Path | None, key: str, reverse: bool, shipped: bool, as_json: bool) -> None:
    """List the runs in DIRECTORY, `runs` by default.

    Loss and bits per character are those of the best weights on the validation text, as they were
    measured during training. A directory that is no run, or a damaged one, is named on standard
    error. Weights are not read, so damage to them is not seen.

    \b
    llm-timecycle runs list
    llm-timecycle runs list --sort bits
    llm-timecycle runs list experiments --json
    """
    if shipped and directory is not None:
        raise UsageError("give DIRECTORY or --shipped, not both")
    place = directory or Path("runs")
    listing = list_shipped() if shipped else list_runs(place)
    found = sort_runs(listing.runs, key, reverse=reverse)
    for problem in listing.problems:
        click.echo(escape_controls(problem), err=True)
    if as_json:
        print_json({"runs": [run.to_dict() for run in found], "problems": list(listing.problems)})
    elif found:
        from llm_timecycle.comparing.tables import UNLIMITED, write_list

        print_text(write_list(found, _find_width(UNLIMITED)))
    else:
        shipped_ones = "Those that come with the program: llm-timecycle runs list --shipped"
        message = f"There are no runs in {place}. {HOW_TO_BEGIN}. {shipped_ones}"
        click.echo(escape_controls(message), err=True)


@command.command("show", context_settings=HELP)
@click.argument("run", type=PathName())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(run: Path, as_json: bool) -> None:
    """Show text, model, training, scores and files of one run.

    The weights are not read.

    \b
    llm-timecycle runs show runs/my
    llm-timecycle runs show demo
    """
    details = read_details(run)
    if as_json:
        print_json(details.to_dict())
        return
    from llm_timecycle.comparing.show import write_details
    from llm_timecycle.profiling.render.tables import WIDTH

    print_text(write_details(details, _find_width(WIDTH)))


@command.command("compare", context_settings=HELP)
@click.argument("runs", metavar="RUN RUN...", type=PathName(), nargs=-1, required=True)
@click.option(
    "--output",
    type=PathName(as_text=True),
    metavar="FILE",
    help="Also draw the losses during training to a .png, .svg or .pdf file.",
)
@click.option(
    "--over",
    "axis",
    type=click.Choice(AXES),
    default="steps",
    help="What to draw the losses over.  [default: steps]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(runs: tuple[Path, ...], output: str | None, axis: Axis, as_json: bool) -> None:
    """Show runs side by side: settings that differ, results, the last samples.

    Says which figures can be compared: a loss per token means the same only with the same tokens,
    and no score means the same on another text.

    \b
    llm-timecycle runs compare runs/a runs/b
    llm-timecycle runs compare runs/a runs/b --output curves.svg --over minutes
    """
    comparison = compare_runs([read_details(run) for run in runs])
    if output is not None:
        _draw(comparison, output, axis)
    if as_json:
        print_json(comparison.to_dict())
        return
    from llm_timecycle.comparing.side_by_side import write_comparison
    from llm_timecycle.profiling.render.tables import WIDTH

    print_text(write_comparison(comparison, _find_width(WIDTH)))


def _draw(comparison: RunComparison, output: str, axis: Axis) -> None:
    from llm_timecycle.comparing.chart import check_chart_path, draw_curves, save_figure

    curves, unit = list_curves(comparison, axis)
    try:
        path = check_chart_path(output)
        save_figure(draw_curves(curves, axis, unit), path)
    except UsageError as error:
        raise UsageError(f"--output: {error}") from error
    click.echo(escape_controls(f"The chart is in {path}"), err=True)


def _find_width(elsewhere: int) -> int:
    """The columns of the terminal, or `elsewhere` where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else elsewhere
