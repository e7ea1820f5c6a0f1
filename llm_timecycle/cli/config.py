"""`llm-timecycle config`: write, suggest, check and show settings; print the JSON Schema."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from shlex import quote

import click

from llm_timecycle.cli.options import HELP, PathName, config_overrides
from llm_timecycle.cli.printing import print_text
from llm_timecycle.cli.terminal import set_up_logging
from llm_timecycle.config.dump import dump_settings, render_commented
from llm_timecycle.config.json_schema import settings_schema
from llm_timecycle.config.load import LoadedSettings, read_settings
from llm_timecycle.config.locate import find_shipped_directory, name_after
from llm_timecycle.config.recipes import read_recipe
from llm_timecycle.config.sources import Override
from llm_timecycle.config.text_settings import BUILT_IN_CORPORA
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import ConfigError, DataError, UsageError
from llm_timecycle.files import explain_os_error, is_replaceable, write_durably
from llm_timecycle.path_names import find_name_problem
from llm_timecycle.training.schedules import choose_learning_rate


@click.group("config", context_settings=HELP)
def command() -> None:
    """Make, check and show settings."""


@command.command("new", context_settings=HELP)
@click.argument("file", type=PathName(), default="my.yaml")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def new(file: Path, force: bool) -> None:
    """Write a commented settings file to start from.

    FILE is my.yaml by default. The values are those of the shipped settings `small`, which train in
    a few minutes.
    """
    _check_can_write(file, force)
    schema = find_shipped_directory() / "schema.json"
    _write(file, render_commented(read_settings("small").settings, schema.as_uri()))
    click.echo(
        f"Wrote {file}. Next: set data.train to the path of your text, then\n"
        f"  llm-timecycle config check {quote(str(file))}\n"
        f"  llm-timecycle train {quote(str(file))}",
        err=True,
    )


@command.command("suggest", context_settings=HELP)
@click.argument("text", metavar="TEXT", type=PathName(as_text=True))
@click.option(
    "--minutes", type=float, metavar="M", help="Minutes that training may take.  [default: 10]"
)
@config_overrides
@click.option(
    "--output",
    type=PathName(),
    metavar="FILE",
    help="File to write.  [default: NAME.yaml, after the name of TEXT]",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def suggest(
    text: str,
    minutes: float | None,
    overrides: tuple[str, ...],
    output: Path | None,
    force: bool,
) -> None:
    """Write a settings file for TEXT, with a reason for each choice.

    TEXT is a file, a directory, a glob, or a built-in text. The settings are those
    with which `train TEXT` would train on this machine.
    """
    from llm_timecycle.text.prepare import find_cache_directory
    from llm_timecycle.training.suggest.from_text import suggest_settings

    file = output or Path(f"{name_after(text)}.yaml")
    if output is None and (not name_after(text) or find_name_problem(file)):
        raise UsageError(f"{text} gives the file no name: choose one with --output FILE")
    _check_can_write(file, force)
    set_up_logging()
    loaded = suggest_settings(
        [text],
        minutes,
        [Override(each) for each in overrides],
        cache=find_cache_directory(),
        show_progress=sys.stderr.isatty(),
    )
    _write(file, dump_settings(loaded.settings, loaded.comments))
    name = quote(str(file))
    click.echo(f"Wrote {file}. Next: llm-timecycle train {name}", err=True)


@command.command("check", context_settings=HELP)
@click.argument("file", metavar="FILE", type=PathName(as_text=True))
def check(file: str) -> None:
    """Check a settings file and summarize it.

    FILE is a path, or the name of shipped settings. If anything is wrong, all problems are listed
    and the exit code is 3. If the settings are right but a text is missing, the exit code is 4.
    """
    loaded = read_settings(file)
    _check_texts(loaded)
    print_text(_summarize(loaded))


@command.command("show", context_settings=HELP)
@click.argument("config", metavar="CONFIG", type=PathName(as_text=True))
@config_overrides
def show(config: str, overrides: tuple[str, ...]) -> None:
    """Print every setting, with defaults and --set applied.

    CONFIG is a path, or the name of shipped settings.
    """
    click.echo(dump_settings(read_settings(config, overrides).settings), nl=False)


@command.command("schema", context_settings=HELP)
def schema() -> None:
    """Print the JSON Schema of settings files.

    Editors use it to complete and check settings while you type.
    """
    click.echo(json.dumps(settings_schema(), indent=2, ensure_ascii=False))


def _check_can_write(file: Path, force: bool) -> None:
    if file.is_dir():
        raise UsageError(f"{file} is a directory; expected a file name, such as {file / 'my.yaml'}")
    if not is_replaceable(file):
        raise UsageError(f"{file} is not a regular file; expected a file name, such as my.yaml")
    if (file.exists() or file.is_symlink()) and not force:
        raise UsageError(f"{file} exists already. Choose another name, or replace it with --force")
    if not file.parent.is_dir():
        raise ConfigError(f"there is no directory {file.parent}: create it, or choose another path")


def _write(file: Path, text: str) -> None:
    try:
        write_durably(file, text.encode())
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {explain_os_error(error)}") from error


def _check_texts(loaded: LoadedSettings) -> None:
    """Raise DataError where a text that the settings name cannot be found; names every one."""
    from llm_timecycle.text.files.find import find_files
    from llm_timecycle.text.prepare import find_cache_directory

    are_records = loaded.settings.data.documents == "record"
    problems = []
    for key in ("train", "valid", "test"):
        value = getattr(loaded.settings.data, key) or []
        for path in [value] if isinstance(value, str) else value:
            try:
                if path not in BUILT_IN_CORPORA:
                    find_files(path, loaded.base, find_cache_directory(), records=are_records)
            except DataError as error:
                problems.append(f"data.{key}: {error}")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise DataError(f"the settings in {loaded.path} are right, but not their texts:\n{lines}")


def _summarize(loaded: LoadedSettings) -> str:
    """The main facts about some settings, one per line."""
    settings = loaded.settings
    model, training, tokenizer = settings.model, settings.training, settings.tokenizer
    train = settings.data.train
    shapes = compute_parameter_shapes(model, tokenizer.vocab_size)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    tokens_per_step = training.batch_size * training.sequence_length
    default_rate = choose_learning_rate(training.optimizer, model.hidden_units)
    recipe = read_recipe(loaded.path)
    length = f"{training.epochs} epochs, "
    if training.max_steps is not None:
        length += f"at most {training.max_steps:,} steps, "
    if training.minutes is not None:
        length = f"{training.minutes:g} minutes, "
    return "\n".join(
        [
            f"OK: {loaded.path}",
            f"  text       {train if isinstance(train, str) else ', '.join(train)}",
            f"  tokenizer  {tokenizer.level} level, vocabulary of at most {tokenizer.vocab_size:,}",
            f"  model      {model.num_layers} x LSTM({model.hidden_units}) on Embedding("
            f"{model.embedding_dim}), at most {parameters:,} parameters",
            f"  training   {length}{tokens_per_step:,} tokens per step "
            f"({training.batch_size} x {training.sequence_length}), {training.optimizer} at "
            f"{training.learning_rate or default_rate:.3g}",
            *([f"  measured   {recipe}"] if recipe else []),
        ]
    )
