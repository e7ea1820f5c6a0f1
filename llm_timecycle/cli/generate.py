"""`llm-timecycle generate`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from llm_timecycle.cli.options import HELP
from llm_timecycle.config.schema import describe_allowed, list_key_schemas
from llm_timecycle.config.tree import GenerationSettings
from llm_timecycle.errors import DataError, UsageError
from llm_timecycle.generation.generator import TextGenerator, describe_unknown_tokens
from llm_timecycle.generation.numpy_engine import NumpyEngine
from llm_timecycle.run import open_run
from llm_timecycle.text.characters import BLANK
from llm_timecycle.text.reading import TextFile
from llm_timecycle.text.tokenizer import Tokenizer


@click.command("generate", context_settings=HELP)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--prompt", metavar="TEXT", help="The text to continue.")
@click.option(
    "--prompt-file",
    metavar="FILE",
    help="Read the text to continue from a file, or from standard input for -. One line break at "
    "its end is left out.",
)
@click.option("--length", type=int, metavar="N", help="Tokens to generate at most.")
@click.option(
    "--temperature",
    type=float,
    metavar="F",
    help="Below 1 plays safe, above 1 takes risks, 0 always takes the likeliest token.",
)
@click.option("--top-k", type=int, metavar="N", help="Draw from the N likeliest tokens only.")
@click.option(
    "--top-p",
    type=float,
    metavar="F",
    help="Draw from the fewest tokens that together have this probability.",
)
@click.option(
    "--min-p",
    type=float,
    metavar="F",
    help="Leave out tokens less likely than this share of the likeliest one's probability.",
)
@click.option(
    "--repetition-penalty",
    type=float,
    metavar="F",
    help="Above 1 makes tokens that have already appeared less likely.",
)
@click.option("--seed", type=int, metavar="N", help="The same seed gives the same text.")
@click.option(
    "--samples",
    type=click.IntRange(1, 1000),
    default=1,
    metavar="N",
    help="Texts to generate, each from a draw of its own.  [default: 1]",
)
@click.option(
    "--stop",
    multiple=True,
    metavar="TEXT",
    help="End where this text appears, and do not print it. Repeatable.",
)
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Print text as it comes, or when it is complete.  [default: --stream for one sample]",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    run: Path,
    prompt: str | None,
    prompt_file: str | None,
    samples: int,
    stream: bool | None,
    **options: Any,
) -> None:
    """Generate text from a trained model.

    Prints the prompt and what the model makes of it. Without a prompt, the model begins a text of
    its own. What no option sets is as in the run's config.yaml, under generation. Several samples
    are printed one below the other, each under a line that numbers it.

    \b
    llm-timecycle generate runs/my --prompt "Once upon"
    llm-timecycle generate runs/my --prompt-file start.txt --length 500 --temperature 0.6
    """
    if prompt is not None and prompt_file is not None:
        raise UsageError("give --prompt or --prompt-file, not both")
    if stream and samples > 1:
        raise UsageError("--stream prints one text as it comes: leave out --stream or --samples")
    opened = open_run(run)
    given = {name: value for name, value in options.items() if value not in (None, ())}
    settings = override_settings(opened.settings.generation, given)
    text = (prompt or "") if prompt_file is None else read_prompt(prompt_file)
    tokenizer = Tokenizer.load(opened.tokenizer_path, opened.settings.tokenizer)
    if warning := describe_unknown_tokens(tokenizer, text):
        click.echo(f"Warning: {warning}", err=True)
    engine = NumpyEngine(opened.load_weights(), opened.settings.model)
    generator = TextGenerator(engine, tokenizer, settings)
    if tokenizer.settings.level == "word":
        text = re.sub(f"[{BLANK}]+\\Z", "", text)  # the next word brings its own space
    try:
        if samples == 1 and stream is not False:
            _print_stream(generator, text)
        else:
            _print_whole(generator, text, samples, settings.length)
    except KeyboardInterrupt:
        if samples == 1 and stream is not False:
            click.echo()
        context.exit(130)


def override_settings(settings: GenerationSettings, given: Mapping[str, Any]) -> GenerationSettings:
    """The settings with those that options give; UsageError names each option that is wrong."""
    values = {name: list(value) if name == "stop" else value for name, value in given.items()}
    try:
        return GenerationSettings.model_validate(settings.model_dump() | values)
    except ValidationError as error:
        wrong = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors())
        raise UsageError("\n".join(_explain_option(name, values[name]) for name in wrong)) from None


def _explain_option(name: str, value: object) -> str:
    option = f"--{name.replace('_', '-')}"
    if name == "stop":
        return f"{option}: received an empty text; expected at least one character"
    schema = list_key_schemas("generation")[name]
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice["type"] != "null"]
    return f"{option}: received {value}; expected {describe_allowed(choices[0])}"


def read_prompt(source: str) -> str:
    """The text of a file, or of standard input for `-`, without one line break at its end.

    Raises DataError where it cannot be read or is not UTF-8.
    """
    if source == "-":
        try:
            text = sys.stdin.buffer.read().decode().removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise DataError(
                f"the prompt on standard input is not UTF-8 text: the byte at offset {error.start} "
                f"fits no character. Convert it first: iconv -f GB18030 -t UTF-8 (with its own "
                f"encoding in place of GB18030)"
            ) from error
    else:
        text = "".join(TextFile(Path(source)).read())
    return text.replace("\r\n", "\n").removesuffix("\n")


def _print_stream(generator: TextGenerator, prompt: str) -> None:
    click.echo(prompt, nl=False)
    for piece in generator.stream(prompt):
        click.echo(piece, nl=False)
    click.echo()


def _print_whole(generator: TextGenerator, prompt: str, samples: int, length: int) -> None:
    from tqdm import tqdm

    with tqdm(total=length, unit="tok", leave=False, disable=not sys.stderr.isatty()) as bar:
        texts = generator.generate(prompt, samples, after_token=lambda: bar.update())
    for number, generated in enumerate(texts, 1):
        if samples > 1:
            click.echo(f"=== sample {number} of {samples} ===")
        click.echo(f"{prompt}{generated.text}")
