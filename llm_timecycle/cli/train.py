"""`llm-timecycle train`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import join, quote
from typing import TYPE_CHECKING, Any

import click

from llm_timecycle.cli.options import HELP, PathName, config_overrides, name_change
from llm_timecycle.cli.terminal import format_shares, set_up_logging
from llm_timecycle.cli.workers import read_cluster, worker_options
from llm_timecycle.config.load import LoadedSettings, read_settings
from llm_timecycle.config.locate import find_run, name_after, names_text
from llm_timecycle.config.sources import Override, Source
from llm_timecycle.distributed.parent import end_with_launcher
from llm_timecycle.errors import DataError, RunError, RunExistsError, ShortTextError
from llm_timecycle.runs.create import check_run_is_new
from llm_timecycle.runs.directory import open_run
from llm_timecycle.system import measure_start_s

if TYPE_CHECKING:
    from llm_timecycle.config.settings import Settings
    from llm_timecycle.runs.warm_start import WarmStart
    from llm_timecycle.training.progress import Progress
    from llm_timecycle.training.session import TrainingSummary
    from llm_timecycle.training.suggest.from_curve import Finding


@click.command("train", context_settings=HELP)
@click.argument("config", metavar="TEXT|CONFIG", type=PathName(as_text=True))
@config_overrides
@click.option(
    "--run",
    "run_path",
    type=PathName(),
    help="Directory to write the run to.  [default: runs/NAME, after the name of TEXT or CONFIG]",
)
@click.option(
    "--minutes",
    type=float,
    metavar="M",
    help="Train for M minutes, start and end of the program included; with TEXT, for M minutes at "
    "most.",
)
@click.option("--resume", is_flag=True, help="Resume the run from its newest checkpoint.")
@click.option(
    "--from",
    "from_run",
    type=PathName(),
    metavar="RUN",
    help="Begin with the weights of another run, such as demo, which comes with the program; the "
    "model and the vocabulary are taken from it.",
)
@click.option(
    "--extend-vocabulary",
    is_flag=True,
    help="With --from, add tokens of the new text to the vocabulary.",
)
@click.option(
    "--tensorboard", is_flag=True, help="Write the losses to RUN/tensorboard for TensorBoard."
)
@click.option(
    "--profile-trace",
    is_flag=True,
    help="Record five steps with TensorFlow's profiler to RUN/tensorboard.",
)
@worker_options
def command(
    config: str,
    overrides: tuple[str, ...],
    run_path: Path | None,
    minutes: float | None,
    resume: bool,
    from_run: Path | None,
    extend_vocabulary: bool,
    tensorboard: bool,
    profile_trace: bool,
    **given: Any,
) -> None:
    """Train a model on TEXT, or with the settings of CONFIG.

    TEXT is a file, a directory, a glob, or a built-in text (python-docs,
    sample-english, sample-chinese). Settings are chosen for it, for this machine and for the time:
    at most M minutes, 10 by default. What --set gives is kept, and the rest is chosen to fit it.

    CONFIG is a YAML file, the name of shipped settings (section5, small, char, chinese), or, with
    --resume, a run directory.

    \b
    llm-timecycle train novel.txt --minutes 5
    llm-timecycle train small
    llm-timecycle train my.yaml --set training.epochs=3 --run runs/short
    llm-timecycle train my.yaml --minutes 10
    llm-timecycle train runs/short --resume
    llm-timecycle train --from runs/novel letters.txt --minutes 5
    """
    began_at_s = time.perf_counter() - measure_start_s()
    options = {
        "--minutes": minutes,
        "--run": run_path,
        "--from": from_run,
        "--extend-vocabulary": extend_vocabulary,
    }
    called = _write_call(config, overrides, options)
    set_up_logging()
    end_with_launcher()
    cluster = read_cluster(config, resume, **given)
    warm_start = open_warm_start(from_run, extend_vocabulary, resume)
    defaults = [] if warm_start is None else [warm_start.defaults]
    loaded, run_path = load_settings(config, overrides, minutes, run_path, resume, defaults)
    is_chief = cluster is None or cluster.is_chief
    watched = (tensorboard and is_chief, profile_trace and is_chief)
    try:
        with name_change():
            summary = _train(
                loaded,
                run_path,
                *watched,
                resume=resume,
                warm_start=warm_start,
                show_progress=sys.stderr.isatty() and is_chief,
                began_at_s=began_at_s,
                cluster=cluster,
            )
    except RunExistsError as error:
        raise RunError(_explain_existing(error)) from error
    except ShortTextError as error:
        raise DataError(_explain_short(error, called, resume)) from error
    if not summary.is_chief:
        click.echo(f"Trained {summary.progress.step:,} steps; the chief has the run.", err=True)
        return
    summary.run.check_weights_exist()
    _report_end(summary, loaded.settings)


def _train(
    loaded: LoadedSettings, run_path: Path, tensorboard: bool, trace: bool, **options: Any
) -> TrainingSummary:
    """A training session; `options` are those of `training.session.train`."""
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.text.prepare import find_cache_directory
    from llm_timecycle.training.reporting.tensorboard import make_callbacks
    from llm_timecycle.training.session import train

    callbacks = make_callbacks(
        run_path / "tensorboard",
        scalars_every=loaded.settings.training.log_every if tensorboard else None,
        trace=trace,
    )
    cache = find_cache_directory()
    return train(loaded, run_path, cache=cache, callbacks=callbacks, **options)


def _report_end(summary: TrainingSummary, settings: Settings) -> None:
    """Say how the training went, where its time went, and what comes next."""
    from llm_timecycle.training.reporting.metrics import add_stage_seconds

    progress, run = summary.progress, quote(str(summary.run.path))
    has_validation = summary.has_validation
    kept = f"the best weights are those of step {progress.best_step:,}"
    copies = "" if summary.copies is None else f"{summary.copies}\n"
    click.echo(
        f"Trained {progress.step:,} steps in {_describe_time(progress, settings)}; "
        f"{kept if has_validation else 'the last weights are kept: there is no validation text'}.\n"
        f"{format_shares(add_stage_seconds(summary.run.metrics_path))}\n"
        f"{'' if summary.finding is None else _write_finding(summary.finding, run)}"
        f"{copies}"
        f"Next: llm-timecycle evaluate {run}{'' if has_validation else ' --data FILE'}\n"
        f'      llm-timecycle generate {run} --prompt "Once upon"',
        err=True,
    )


def open_warm_start(run: Path | None, extend_vocabulary: bool, resume: bool) -> WarmStart | None:
    """The run to begin from, if one is given."""
    if run is None:
        if extend_vocabulary:
            raise click.UsageError("--extend-vocabulary needs --from RUN")
        return None
    if resume:
        raise click.UsageError("--from begins a new run: leave out --resume")
    from llm_timecycle.runs import warm_start

    return warm_start.open_warm_start(run, extend_vocabulary)


def _write_finding(finding: Finding, run: str) -> str:
    """A line about what stands out in the training, with the command that would help."""
    longer = "".join(f" --set {change}" for change in finding.longer)
    command = f"llm-timecycle train {run} --resume{longer}"
    return f"{finding.text}{f': {command}' if longer else '.'}\n"


def _write_call(
    config: str, overrides: tuple[str, ...], options: Mapping[str, Path | float | None]
) -> str:
    """The command as the user gave it, as far as it decides what is trained.

    Args:
        options: their values, by name: None and False where they are not given, True for a flag.
    """
    words = ["llm-timecycle", "train", config]
    words += [word for override in overrides for word in ("--set", override)]
    for name, value in options.items():
        if value is True:
            words.append(name)
        elif value is not None and value is not False:
            words += [name, f"{value:g}" if isinstance(value, float) else str(value)]
    return join(words)


def _explain_short(error: ShortTextError, called: str, resume: bool) -> str:
    if not error.changes or resume:
        return str(error)
    fitting = " ".join(f"--set {path}={value}" for path, value in error.changes.items())
    return f"{error.problem}. Use a longer text, or train on it with: {called} {fitting}"


def _describe_time(progress: Progress, settings: Settings) -> str:
    """How long the run trained; with a budget, how much of it that is."""
    from llm_timecycle.training.budget.planning import describe_seconds

    minutes = settings.training.minutes
    if minutes is None:
        return f"{progress.wall_s:.0f} s"
    return f"{describe_seconds(progress.active_s)} of {minutes:g} min"


def load_settings(
    config: str,
    overrides: tuple[str, ...],
    minutes: float | None,
    run_path: Path | None,
    resume: bool,
    defaults: Sequence[Source],
) -> tuple[LoadedSettings, Path]:
    """The settings to train with, and the directory of the run, which must be new or resumed."""
    if names_text(config):
        run_path = run_path or _name_run(config)
        if not resume:
            return _suggest(config, minutes, overrides, run_path, defaults), run_path
        config = str(run_path)
    if resume and (found := find_run(config)) is not None:
        opened = open_run(found)
        if run_path is None:
            opened.check_is_own()
        run_path = run_path or found
        config = str(opened.path / "config.yaml")
    if minutes is not None:
        overrides += (f"training.minutes={minutes}",)
    loaded = read_settings(config, overrides, defaults)
    run_path = run_path or Path("runs") / loaded.name
    if not resume:
        _check_is_new(run_path)
    return loaded, run_path


def _name_run(text: str) -> Path:
    """The run directory of a text, if none is given."""
    if name := name_after(text):
        return Path("runs") / name
    raise click.UsageError(f"{text} gives the run no name: choose a directory with --run DIR")


def _suggest(
    text: str,
    minutes: float | None,
    overrides: tuple[str, ...],
    run: Path,
    defaults: Sequence[Source],
) -> LoadedSettings:
    """The settings chosen for a text; before any work is done, `run` must be new."""
    from llm_timecycle.text.prepare import find_cache_directory
    from llm_timecycle.training.suggest.from_text import suggest_settings

    _check_is_new(run)
    return suggest_settings(
        [text],
        minutes,
        [*defaults, *(Override(each) for each in overrides)],
        cache=find_cache_directory(),
        show_progress=sys.stderr.isatty(),
    )


def _check_is_new(run: Path) -> None:
    try:
        if run.exists():
            check_run_is_new(run)
    except RunExistsError as error:
        raise RunError(_explain_existing(error)) from error


def _explain_existing(error: RunExistsError) -> str:
    if error.is_run:
        return (
            f"{error.path} exists already. To resume it, add --resume; to train a new run, "
            f"choose another directory with --run DIR"
        )
    return f"{error.path} exists already and is not a run: choose another directory with --run DIR"
