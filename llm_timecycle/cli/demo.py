"""`llm-timecycle demo`: the first minutes with the program, from a built-in text to new text."""

from __future__ import annotations

import shlex
import shutil
import sys
from datetime import datetime
from pathlib import Path

import click

from llm_timecycle.cli.options import HELP, config_overrides

PROMPT = "The function returns"


@click.command("demo", context_settings=HELP)
@click.option(
    "--run",
    "run_path",
    type=click.Path(path_type=Path),
    help="Directory to write the run to.  [default: runs/demo; where that exists, with the time]",
)
@config_overrides
@click.pass_context
def command(context: click.Context, run_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Train a small model on a built-in text, score it, and let it write.

    The text is the prose of Python's documentation. Takes a few minutes on two cores. Prints each
    command before it runs, so that you can repeat it.
    """
    run = str(choose_run_path(datetime.now()) if run_path is None else run_path)
    options = [word for override in overrides for word in ("--set", override)]
    steps = {
        "Training a small model on the prose of Python's documentation": (
            ["train", "small", "--run", run, *options]
        ),
        "Scoring it on text that it was not trained on": ["evaluate", run],
        "Letting it write": (
            ["generate", run, "--prompt", PROMPT, "--length", "80", "--seed", "1"]
        ),
    }
    program = name_program(sys.argv[0])
    group = context.find_root().command
    for number, (heading, arguments) in enumerate(steps.items(), 1):
        click.secho(f"\n{number}/{len(steps)}  {heading}", err=True, bold=True)
        click.echo(f"$ {program} {shlex.join(arguments)}", err=True)
        group.main(arguments, prog_name="llm-timecycle", standalone_mode=False)
    click.secho("\nTry next:", err=True, bold=True)
    click.echo(
        f'  {program} generate {shlex.quote(run)} --prompt "This module" --temperature 0.5\n'
        f"  {program} train novel.txt    # your text: a file, a directory or a glob",
        err=True,
    )


def choose_run_path(now: datetime) -> Path:
    """`runs/demo`, or with the time in its name where that exists."""
    path = Path("runs/demo")
    return path.with_name(f"demo-{now:%Y%m%d-%H%M%S}") if path.exists() else path


def name_program(called: str) -> str:
    """How a shell finds this program: by its name where that is on the path, else by its file.

    Args:
        called: the file that was called, `sys.argv[0]`.
    """
    if shutil.which("llm-timecycle") is None and Path(called).name == "llm-timecycle":
        return shlex.quote(called)
    return "llm-timecycle"
