"""`llm-timecycle train`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from llm_timecycle.cli.options import config_overrides
from llm_timecycle.cli.terminal import set_up_logging
from llm_timecycle.config.reading import read_settings


@click.command("train")
@click.argument("config")
@config_overrides
@click.option(
    "--run",
    "run_path",
    type=click.Path(path_type=Path),
    help="Where to write the run.  [default: runs/NAME, after the name of CONFIG]",
)
@click.option("--resume", is_flag=True, help="Go on with the run from its newest checkpoint.")
def command(config: str, overrides: tuple[str, ...], run_path: Path | None, resume: bool) -> None:
    """Train a model as CONFIG says.

    CONFIG is a YAML file, the name of one that comes with the program (section5, small, char,
    chinese), or, with --resume, a run directory.

    \b
    llm-timecycle train small
    llm-timecycle train my.yaml --set training.epochs=3 --run runs/short
    llm-timecycle train runs/short --resume
    """
    set_up_logging()
    if resume and (Path(config) / "config.yaml").is_file():
        run_path = run_path or Path(config)
        config = str(Path(config) / "config.yaml")
    loaded = read_settings(config, overrides)
    run_path = run_path or Path("runs") / loaded.name
    from llm_timecycle.model.quiet import import_tensorflow

    import_tensorflow()
    from llm_timecycle.text.cache import find_cache_directory
    from llm_timecycle.training.session import train

    summary = train(
        loaded,
        run_path,
        cache=find_cache_directory(),
        resume=resume,
        show_progress=sys.stderr.isatty(),
    )
    progress = summary.progress
    click.echo(
        f"Trained {progress.step:,} steps in {progress.wall_s:.0f} s; "
        f"the best weights are those of step {progress.best_step:,}.\n"
        f"Next: llm-timecycle evaluate {run_path}\n"
        f'      llm-timecycle generate {run_path} --prompt "Once upon"',
        err=True,
    )
