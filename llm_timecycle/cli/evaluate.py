"""`llm-timecycle evaluate`."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import click

from llm_timecycle.cli.options import HELP
from llm_timecycle.cli.printing import print_json
from llm_timecycle.cli.terminal import set_up_logging


@click.command("evaluate", context_settings=HELP)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", help="Score this text: a file, a directory, or a glob.")
@click.option(
    "--split",
    type=click.Choice(["valid", "test"]),
    help="Score the run's own held-out text.  [default: valid]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run: Path, data: str | None, split: str | None, as_json: bool) -> None:
    """Score a trained model on text that it has not learned from.

    The LSTM state is carried through the whole text, and every token after the first is predicted
    exactly once. To compare models whose tokens differ, compare bits a character or perplexity a
    word.
    """
    if data == "":
        raise click.UsageError("--data is empty; expected a file, a directory, or a glob")
    if data is not None and split is not None:
        raise click.UsageError("give --data or --split, not both")
    set_up_logging()
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.evaluation.report import score_run
    from llm_timecycle.text.prepare import find_cache_directory

    figures = score_run(
        run,
        data=data,
        split=split or "valid",
        cache=find_cache_directory(),
        show_progress=sys.stderr.isatty(),
    )
    if as_json:
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in figures.items()
        }
        print_json(finite)
    else:
        for key, value in figures.items():
            click.echo(f"{key.replace('_', ' '):24}{_format(value):>16}")


def _format(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4f}" if value < 1e6 else f"{value:.4g}"
