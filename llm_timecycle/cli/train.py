"""`llm-timecycle train`."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote

import click

from llm_timecycle.cli.options import HELP, config_overrides
from llm_timecycle.cli.terminal import format_shares, set_up_logging
from llm_timecycle.config.load import read_settings
from llm_timecycle.runs.directory import open_run


@click.command("train", context_settings=HELP)
@click.argument("config")
@config_overrides
@click.option(
    "--run",
    "run_path",
    type=click.Path(path_type=Path),
    help="Where to write the run.  [default: runs/NAME, after the name of CONFIG]",
)
@click.option("--resume", is_flag=True, help="Go on with the run from its newest checkpoint.")
@click.option(
    "--tensorboard", is_flag=True, help="Write the losses for TensorBoard, into RUN/tensorboard."
)
@click.option(
    "--profile-trace",
    is_flag=True,
    help="Record five steps with TensorFlow's own profiler, into RUN/tensorboard.",
)
def command(
    config: str,
    overrides: tuple[str, ...],
    run_path: Path | None,
    resume: bool,
    tensorboard: bool,
    profile_trace: bool,
) -> None:
    """Train a model as CONFIG says.

    CONFIG is a YAML file, the name of one that comes with the program (section5, small, char,
    chinese), or, with --resume, a run directory.

    \b
    llm-timecycle train small
    llm-timecycle train my.yaml --set training.epochs=3 --run runs/short
    llm-timecycle train runs/short --resume
    """
    set_up_logging()
    if run_path == Path():
        raise click.UsageError("--run is empty; expected a directory")
    if resume and (found := find_run(Path(config))) is not None:
        run_path = run_path or found
        config = str(open_run(found).path / "config.yaml")
    loaded = read_settings(config, overrides)
    run_path = run_path or Path("runs") / loaded.name
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.text.prepare import find_cache_directory
    from llm_timecycle.training.metrics import add_stage_seconds
    from llm_timecycle.training.session import train
    from llm_timecycle.training.tensorboard import make_callbacks

    callbacks = make_callbacks(
        run_path / "tensorboard",
        scalars_every=loaded.settings.training.log_every if tensorboard else None,
        trace=profile_trace,
    )
    summary = train(
        loaded,
        run_path,
        cache=find_cache_directory(),
        resume=resume,
        callbacks=callbacks,
        show_progress=sys.stderr.isatty(),
    )
    summary.run.check_weights_exist()
    progress, place = summary.progress, quote(str(run_path))
    is_scored = summary.has_validation
    kept = f"the best weights are those of step {progress.best_step:,}"
    click.echo(
        f"Trained {progress.step:,} steps in {progress.wall_s:.0f} s; "
        f"{kept if is_scored else 'the last weights are kept: there is no validation text'}.\n"
        f"{format_shares(add_stage_seconds(summary.run.metrics_path))}\n"
        f"Next: llm-timecycle evaluate {place}{'' if is_scored else ' --data FILE'}\n"
        f'      llm-timecycle generate {place} --prompt "Once upon"',
        err=True,
    )


def find_run(config: Path) -> Path | None:
    """The run that CONFIG of `train --resume` means; None where it is a settings file.

    A directory is a run, and so is what is neither a file nor the bare name of one; a run's own
    config.yaml stands for it.
    """
    if config.name == "config.yaml" and (config.parent / "manifest.json").exists():
        return config.parent
    is_name = config.name == str(config)
    return config if config.is_dir() or not (config.is_file() or is_name) else None
