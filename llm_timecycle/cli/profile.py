"""`llm-timecycle profile`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from llm_timecycle.cli.options import HELP, PathName, config_overrides, name_change
from llm_timecycle.cli.printing import print_json, print_text
from llm_timecycle.cli.terminal import set_up_logging
from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.results import GROWTH_AXES

if TYPE_CHECKING:
    from llm_timecycle.profiling.api import ProfileResult


@click.command("profile", context_settings=HELP)
@click.argument("source", metavar="RUN|CONFIG", type=PathName(as_text=True))
@config_overrides
@click.option(
    "--steps",
    type=click.IntRange(5, 10_000),
    metavar="N",
    help="Training steps to time by stage, and the same number without markers.  "
    "[default: as many as 40 s hold, from 8 to 20]",
)
@click.option(
    "--grow",
    type=click.Choice(GROWTH_AXES),
    multiple=True,
    metavar="AXIS",
    help="Measure how time grows with T (sequence length), B (batch), E (embedding), H (hidden "
    "units), L (layers), V (vocabulary) or length (of a generated text). Repeatable.",
)
@click.option(
    "--parallel", is_flag=True, help="Measure what more threads and more replicas would gain."
)
@click.option("--inference", is_flag=True, help="Measure where the time of generation goes.")
@click.option("--all", "everything", is_flag=True, help="All of these, growth along every axis.")
@click.option(
    "--workers",
    type=click.IntRange(2, 64),
    metavar="N",
    help="Measure what 1, 2, 4, ... and N workers, new processes on this machine, take to add up "
    "their gradients, and estimate what a network would give. Not part of --all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--report",
    type=PathName(as_text=True),
    metavar="FILE.html",
    help="Also write an HTML page with charts.",
)
@click.option("--mermaid", is_flag=True, help="Print the cycle as a Mermaid flow chart.")
@click.option(
    "--against",
    type=PathName(as_text=True),
    metavar="B",
    help="Measure another run or configuration alternately with this one, and compare; or compare "
    "with a file that --json wrote. --set is for the first only.",
)
def command(
    source: str,
    overrides: tuple[str, ...],
    steps: int | None,
    grow: tuple[str, ...],
    parallel: bool,
    inference: bool,
    everything: bool,
    workers: int | None,
    as_json: bool,
    report: str | None,
    mermaid: bool,
    against: str | None,
) -> None:
    """Show where the time of a run or a configuration goes.

    Times input processing, forward pass, backward pass and update of a training step, and every
    layer; says how fast they could be on this machine, and suggests what would save time. A run is
    not changed.

    \b
    llm-timecycle profile section5
    llm-timecycle profile runs/my --all --report my.html
    llm-timecycle profile small --set training.precision=float32 --against small
    """
    if as_json and mermaid:
        raise UsageError("--json and --mermaid both print on standard output: leave out one")
    set_up_logging()
    if against is not None:
        _refuse_beside_against(
            {
                "--grow": grow,
                "--parallel": parallel,
                "--all": everything,
                "--workers": workers is not None,
                "--report": report is not None,
                "--mermaid": mermaid,
            }
        )
        _compare(source, against, overrides, steps, inference, as_json)
        return
    from llm_timecycle.profiling.api import profile
    from llm_timecycle.profiling.render.html import check_report_path, save_report

    with _explain_report():
        report_path = None if report is None else check_report_path(report)
    with name_change():
        found = profile(
            source,
            overrides=overrides,
            steps=steps,
            grow=GROWTH_AXES if everything else grow,
            parallel=parallel or everything,
            inference=inference or everything,
            workers=workers,
            show_progress=sys.stderr.isatty(),
        )
    if report_path is not None:
        with _explain_report():
            save_report(found.to_html(), report_path)
        click.echo(f"The report is in {report_path}", err=True)
    _print(found, as_json, mermaid)


def _refuse_beside_against(options: Mapping[str, Any]) -> None:
    if refused := [option for option, is_given in options.items() if is_given]:
        raise UsageError(
            "--against compares the times of stages and of inference: leave out "
            f"{' and '.join(refused)}"
        )


def _print(found: ProfileResult, as_json: bool, mermaid: bool) -> None:
    if as_json:
        print_json(found.to_dict())
    elif mermaid:
        from llm_timecycle.profiling.render.cycle import write_mermaid

        print_text(write_mermaid(found.profile))
    else:
        from llm_timecycle.profiling.render.tables import WIDTH
        from llm_timecycle.profiling.render.terminal import write_tables

        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
        tables = write_tables(found.profile, width=width, is_coloured=_is_colour_wanted())
        click.echo(tables, color=True)


def _compare(
    source: str,
    against: str,
    overrides: tuple[str, ...],
    steps: int | None,
    inference: bool,
    as_json: bool,
) -> None:
    from llm_timecycle.profiling.against import compare_in_turn

    found = compare_in_turn(source, against, overrides=overrides, steps=steps, inference=inference)
    if as_json:
        print_json(found.to_dict())
    else:
        print_text(str(found))


@contextmanager
def _explain_report() -> Iterator[None]:
    """Name the option where its file is the problem."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"--report: {error}") from error


def _is_colour_wanted() -> bool:
    """On a terminal, unless the user asked for none (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
