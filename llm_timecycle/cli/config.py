"""`config`: make a settings file, check it, show it as resolved, print its JSON Schema."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click

from llm_timecycle.cli.options import HELP, config_overrides
from llm_timecycle.config.dump import dump_settings, render_commented
from llm_timecycle.config.json_schema import settings_schema
from llm_timecycle.config.load import LoadedSettings, read_settings
from llm_timecycle.config.locate import find_shipped_directory
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import ConfigError, UsageError
from llm_timecycle.files import explain_os_error, write_durably


@click.group("config", context_settings=HELP)
def command() -> None:
    """Make, check and show settings."""


@command.command("new")
@click.argument("file", type=click.Path(path_type=Path), default="my.yaml")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def new(file: Path, force: bool) -> None:
    """Write a commented settings file to start from.

    FILE is my.yaml unless given. Its values are those of the shipped settings `small`, which train
    in a few minutes.
    """
    if file.is_dir():
        raise UsageError(f"{file} is a directory; give the name of a file, such as {file}/my.yaml")
    if file.exists() and not force:
        raise UsageError(f"{file} exists already. Choose another name, or replace it with --force")
    schema = find_shipped_directory() / "schema.json"
    text = render_commented(read_settings("small").settings, schema.as_uri())
    try:
        write_durably(file, text.encode())
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {explain_os_error(error)}") from error
    click.echo(
        f"Wrote {file}. Next: put the path of your text at data.train, then\n"
        f"  llm-timecycle config check {file}\n"
        f"  llm-timecycle train {file}",
        err=True,
    )


@command.command("check")
@click.argument("file", metavar="FILE")
def check(file: str) -> None:
    """Check a settings file, and say what it comes to.

    FILE is a path, or the name of shipped settings. Ends with exit code 3 and a list of all
    problems if there are any.
    """
    click.echo(_summarize(read_settings(file)))


@command.command("show")
@click.argument("config", metavar="CONFIG")
@config_overrides
def show(config: str, overrides: tuple[str, ...]) -> None:
    """Print every setting as resolved.

    Defaults and --set are included. CONFIG is a path, or the name of shipped settings.
    """
    click.echo(dump_settings(read_settings(config, overrides).settings), nl=False)


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of settings files.

    Editors that know it complete and check settings as they are typed.
    """
    click.echo(json.dumps(settings_schema(), indent=2, ensure_ascii=False))


def _summarize(loaded: LoadedSettings) -> str:
    """The main facts of some settings, a line each."""
    settings = loaded.settings
    model, training, tokenizer = settings.model, settings.training, settings.tokenizer
    train = settings.data.train
    shapes = compute_parameter_shapes(model, tokenizer.vocab_size)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    tokens_per_step = training.batch_size * training.sequence_length
    until = f"at most {training.max_steps:,} steps, " if training.max_steps is not None else ""
    return "\n".join(
        [
            f"OK: {loaded.path}",
            f"  text       {train if isinstance(train, str) else ', '.join(train)}",
            f"  tokenizer  {tokenizer.level} level, at most {tokenizer.vocab_size:,} kinds",
            f"  model      {model.num_layers} x LSTM({model.hidden_units}) on Embedding("
            f"{model.embedding_dim}), at most {parameters:,} parameters",
            f"  training   {training.epochs} epochs, {until}{tokens_per_step:,} tokens a step "
            f"({training.batch_size} x {training.sequence_length}), {training.optimizer} at "
            f"{training.learning_rate:g}",
        ]
    )
