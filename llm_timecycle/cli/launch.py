"""`llm-timecycle launch`."""

from __future__ import annotations

import os
import random
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import click

from llm_timecycle.cli.options import HELP
from llm_timecycle.cli.terminal import set_up_logging
from llm_timecycle.cli.train import command as train
from llm_timecycle.cli.train import load_settings, open_warm_start
from llm_timecycle.config.locate import name_after, names_text
from llm_timecycle.distributed.addresses import choose_local_addresses
from llm_timecycle.distributed.launcher import run_job
from llm_timecycle.distributed.worker_process import WorkerCommand
from llm_timecycle.errors import Interrupted, UsageError, WorkersError

ONLY_NEW = {"--from": 1, "--extend-vocabulary": 0}
"""Options of a new run that a resumed one does not take, and how many values each has."""
_OF_A_WORKER = ("--workers", "--worker-index")


@click.command(
    "launch",
    context_settings={**HELP, "ignore_unknown_options": True},
    options_metavar="--workers N",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    required=True,
    metavar="N",
    help="Processes that train together, each with its part of every batch.",
)
@click.option(
    "--restarts",
    type=click.IntRange(0, 1000),
    default=3,
    show_default=True,
    metavar="R",
    help="How often all workers start again from the newest checkpoint after one was lost.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="CONFIG [OPTIONS OF TRAIN]")
def command(workers: int, restarts: int, arguments: tuple[str, ...]) -> None:
    """Train with several processes on this machine, started and watched together.

    CONFIG and all options but these two are those of `train`. The losses are those of one process
    with the same settings, up to rounding. If a worker is killed or stuck, all of them end with
    one message and start again. The output of each worker begins with its number, [0] for the
    first.

    On several machines, start `train` on each, with --workers and --worker-index.

    \b
    llm-timecycle launch --workers 2 my.yaml
    llm-timecycle launch --workers 4 my.yaml --set training.epochs=3 --run runs/my
    llm-timecycle launch --workers 2 runs/my --resume --restarts 10
    """
    set_up_logging()
    run = _check(workers, arguments)
    is_resumed = "--resume" in arguments

    def make_commands(attempt: int) -> list[WorkerCommand]:
        given = list(arguments)
        if attempt and not is_resumed and (run / "manifest.json").is_file():
            given = [*_drop_options(arguments, ONLY_NEW), "--resume"]
        return make_local_commands(given, workers)

    try:
        run_job(make_commands, restarts, has_terminal=sys.stderr.isatty())
    except (Interrupted, WorkersError) as error:
        message = str(error).replace(
            "llm-timecycle train ", f"llm-timecycle launch --workers {workers} "
        )
        error.args = (message,)
        raise


def make_local_commands(arguments: Sequence[str], workers: int) -> list[WorkerCommand]:
    """`train` with these arguments for each worker of a job on this machine."""
    addresses = ",".join(choose_local_addresses(workers, random.Random()))
    # In the current directory, Python would find a module that came with somebody's text.
    program = [sys.executable, "-P", "-m", "llm_timecycle", "train", *arguments]
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    environment = {
        "PYTHONPATH": paths,
        "LLM_TIMECYCLE_JOB": secrets.token_hex(8),
        "TF_CONFIG": "",
    }
    return [
        WorkerCommand([*program, "--workers", addresses, "--worker-index", str(index)], environment)
        for index in range(workers)
    ]


def _check(workers: int, arguments: Sequence[str]) -> Path:
    """The run of the job; what is wrong with the arguments is told once, before workers start."""
    if not arguments:
        raise click.UsageError("Missing argument 'CONFIG'.")
    for name in _OF_A_WORKER:
        if any(each == name or each.startswith(f"{name}=") for each in arguments):
            raise click.UsageError(f"{name}: each worker gets its own from the launcher")
    given = train.make_context("llm-timecycle launch", list(arguments)).params
    config: str = given["config"]
    if names_text(config) and not given["resume"]:
        file = f"{name_after(config) or 'my'}.yaml"
        raise UsageError(
            f"{config} is a text, and settings chosen for it would differ between workers. Write "
            f"them to a file first: llm-timecycle config suggest {quote(config)} --output "
            f"{quote(file)}; then: llm-timecycle launch --workers {workers} {quote(file)}"
        )
    resume = given["resume"]
    warm_start = open_warm_start(given["from_run"], given["extend_vocabulary"], resume)
    defaults = [] if warm_start is None else [warm_start.defaults]
    _, run = load_settings(
        config, given["overrides"], given["minutes"], given["run_path"], resume, defaults
    )
    return run


def _drop_options(arguments: Sequence[str], names: dict[str, int]) -> list[str]:
    """Arguments without some options and their values.

    >>> _drop_options(["a", "--from", "b", "--x", "--from=c", "d"], {"--from": 1})
    ['a', '--x', 'd']
    """
    kept, skipped = [], 0
    for argument in arguments:
        name, _, value = argument.partition("=")
        if skipped:
            skipped -= 1
        elif name in names:
            skipped = 0 if value else names[name]
        else:
            kept.append(argument)
    return kept
