"""`llm-timecycle export`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import click

from llm_timecycle.cli.options import HELP, PathName
from llm_timecycle.cli.printing import print_json, print_text
from llm_timecycle.errors import ExportExistsError, UsageError
from llm_timecycle.exporting.formats import FORMATS, check_precision

PRECISIONS = list(dict.fromkeys(name for each in FORMATS.values() for name in each.precisions))


@click.command("export", context_settings=HELP)
@click.argument("run", type=PathName())
@click.option(
    "--to", type=click.Choice(list(FORMATS)), required=True, metavar="FORMAT", help="The format."
)
@click.option(
    "--output",
    type=PathName(),
    metavar="PATH",
    help="Directory to make.  [default: exports/NAME-FORMAT, after the run]",
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace the export that is there; with --push, also the model on the Hub.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="How weights are stored, where the format has a choice.  [default: float32; web: float16]",
)
@click.option("--license", help="huggingface: the license, by the Hub's name; never guessed.")
@click.option("--license-name", metavar="NAME", help="With --license other, what it is called.")
@click.option("--license-link", metavar="URL", help="With --license other, where it is written.")
@click.option(
    "--language", "languages", multiple=True, help="huggingface: ISO 639 code; repeatable."
)
@click.option(
    "--dataset", "datasets", multiple=True, help="huggingface: a dataset of the Hub; repeatable."
)
@click.option("--no-samples", is_flag=True, help="huggingface: a card without texts of the model.")
@click.option("--push", metavar="USER/NAME", help="huggingface: send the folder to the Hub.")
@click.option("--private", is_flag=True, help="With --push, a repository for its owner only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    run: Path,
    to: str,
    output: Path | None,
    force: bool,
    precision: str | None,
    as_json: bool,
    no_samples: bool,
    **card: Any,
) -> None:
    """Write a model for another program.

    RUN is a run directory, or a model that comes with the program: demo or demo-zh.

    \b
    {formats}

    The directory also holds the tokenizer, the settings of generation and an example.py that needs
    nothing of llm-timecycle. Before it appears, the model is read back by its runtime and compared
    with the run; a difference that rounding does not explain is an error, and nothing is kept.
    Nothing is sent anywhere without --push.

    \b
    pip install "llm-timecycle[export]"    # once: the packages of these formats
    llm-timecycle export demo --to web
    llm-timecycle export demo --to onnx
    llm-timecycle export runs/my --to onnx --output novel-onnx
    """
    if precision is not None:
        check_precision(to, precision, "--precision")
    from llm_timecycle.exporting.api import export

    try:
        result = export(
            run, to, output=output, force=force, precision=precision, samples=not no_samples, **card
        )
    except ExportExistsError as error:
        raise UsageError(_explain_exists(error)) from error
    if as_json:
        print_json(result.to_dict())
    else:
        print_text(str(result))


def _explain_exists(error: ExportExistsError) -> str:
    name = quote(str(error.path))
    if error.is_export:
        return f"{name} exists already: replace it with --force, or choose another --output"
    return f"{name} exists already and is not an export: choose another --output"


def _list_formats() -> str:
    width = max(map(len, FORMATS))
    return "\n    ".join(f"{name:<{width}}  {each.help}" for name, each in FORMATS.items())


command.help = str(command.help).replace("{formats}", _list_formats())
