"""`llm-timecycle generate`."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from llm_timecycle.cli.options import HELP, generation_settings
from llm_timecycle.cli.printing import print_json
from llm_timecycle.cli.prompts import read_prompt, show_prompt
from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.engines.select import make_engine
from llm_timecycle.generation.generator import (
    GeneratedText,
    TextGenerator,
    describe_unknown_tokens,
)
from llm_timecycle.generation.options import override_settings
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.runs.directory import open_run
from llm_timecycle.system import measure_process_age_s
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer


@click.command("generate", context_settings=HELP)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--prompt", metavar="TEXT", help="The text to continue.")
@click.option(
    "--prompt-file",
    metavar="FILE",
    help="Read the text to continue from a file, or from standard input if FILE is -. One line "
    "break at its end is dropped.",
)
@generation_settings
@click.option(
    "--samples",
    type=click.IntRange(1, 1000),
    default=1,
    metavar="N",
    help="Number of texts to generate, each sampled independently.  [default: 1]",
)
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Print text as it is generated, or once it is complete.  [default: --stream for one "
    "sample]",
)
@click.option(
    "--interactive", is_flag=True, help="Read prompts line by line; /help lists the commands."
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "numpy", "tensorflow"]),
    default="auto",
    help="Inference backend; auto picks the faster one for this request.  [default: auto]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object with texts, tokens and timings."
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
    interactive: bool,
    engine: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Generate text from a trained model.

    Prints the prompt and its continuation. Without a prompt, the model starts a new text. Settings
    without an option on the command line come from the section generation of the run's config.yaml.
    Several samples are printed one after another, each under a numbered line.

    \b
    llm-timecycle generate runs/my --prompt "Once upon"
    llm-timecycle generate runs/my --prompt-file start.txt --length 500 --temperature 0.6
    llm-timecycle generate runs/my --interactive
    """
    start_s = time.perf_counter()
    if interactive:
        _refuse_beside_interactive(prompt, prompt_file, samples, stream, as_json)
    _check_output_options(prompt, prompt_file, samples, stream, as_json)
    opened = open_run(run)
    given = _list_given(options)
    settings = override_settings(opened.settings.generation, given, _write_option)
    _check_beams(settings.beams, samples, stream)
    text = (prompt or "") if prompt_file is None else read_prompt(prompt_file)
    tokenizer = opened.load_tokenizer()
    if not given.keys().isdisjoint({"ban", "bias"}):  # refuse them by the names of the options
        make_plan(settings, tokenizer, _write_option)
    loaded = make_engine(opened, engine, rows=max(samples, settings.beams), tokens=settings.length)
    load_s = time.perf_counter() - start_s
    if interactive:
        from llm_timecycle.cli.interactive import PromptLoop

        PromptLoop(loaded, tokenizer, settings).run()
        return
    if warning := describe_unknown_tokens(tokenizer, text):
        click.echo(f"Warning: {warning}", err=True)
    generator = TextGenerator(loaded, tokenizer, settings, with_logprobs=as_json)
    request = _Request(run, loaded, tokenizer, settings, generator, text, samples)
    is_streamed = samples == settings.beams == 1 and stream is not False and not as_json
    try:
        if as_json:
            _print_json(request, load_s)
        elif is_streamed:
            _print_stream(request)
        else:
            _print_whole(request)
    except KeyboardInterrupt:
        if is_streamed:
            click.echo()
        context.exit(130)


@dataclass(frozen=True)
class _Request:
    """The arguments of one call, and what it needs to generate."""

    run: Path
    engine: Engine
    tokenizer: Tokenizer
    settings: GenerationSettings
    generator: TextGenerator
    prompt: str
    samples: int


def _write_option(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _list_given(options: dict[str, Any]) -> dict[str, Any]:
    """The settings given as options, by name."""
    return {name: value for name, value in options.items() if value not in (None, ())}


def _check_output_options(
    prompt: str | None, prompt_file: str | None, samples: int, stream: bool | None, as_json: bool
) -> None:
    if prompt is not None and prompt_file is not None:
        raise UsageError("give --prompt or --prompt-file, not both")
    if stream and samples > 1:
        raise UsageError("--stream prints one text as it grows: leave out --stream or --samples")
    if stream and as_json:
        raise UsageError("--json prints one object at the end: leave out --stream or --json")


def _check_beams(beams: int, samples: int, stream: bool | None) -> None:
    if stream and beams > 1:
        raise UsageError(
            "--stream cannot be combined with --beams: the best text of a beam search is only "
            "known at the end. Leave out one of them"
        )
    if samples > beams > 1:
        raise UsageError(
            f"--samples: received {samples}; expected at most {beams}, the number of texts that "
            f"--beams {beams} finds"
        )


def _refuse_beside_interactive(
    prompt: str | None, prompt_file: str | None, samples: int, stream: bool | None, as_json: bool
) -> None:
    beside = {
        "--prompt": prompt is not None,
        "--prompt-file": prompt_file is not None,
        "--samples": samples > 1,
        "--no-stream": stream is False,
        "--json": as_json,
    }
    if refused := [option for option, is_given in beside.items() if is_given]:
        raise UsageError(
            f"--interactive reads prompts and prints each text as it grows: leave out "
            f"{' and '.join(refused)}"
        )


def _print_stream(request: _Request) -> None:
    click.echo(show_prompt(request.prompt, request.tokenizer), nl=False)
    for piece in request.generator.stream(request.prompt):
        click.echo(piece, nl=False)
    click.echo()


def _print_whole(request: _Request) -> None:
    texts = _generate(request)
    shown = show_prompt(request.prompt, request.tokenizer)
    for number, generated in enumerate(texts, 1):
        if request.samples > 1:
            click.echo(f"=== sample {number} of {len(texts)} ===")
        click.echo(f"{shown}{generated.text}")


def _print_json(request: _Request, load_s: float) -> None:
    from llm_timecycle.generation.json_form import describe_generation

    request_age_s = measure_process_age_s()
    texts = _generate(request)
    assert request.generator.times is not None
    report = describe_generation(
        run=str(request.run),
        engine=request.engine,
        tokenizer=request.tokenizer,
        settings=request.settings,
        seed=request.generator.seed,
        prompt=request.prompt,
        texts=texts,
        times=request.generator.times,
        load_s=load_s,
        request_age_s=request_age_s,
    )
    print_json(report)


def _generate(request: _Request) -> list[GeneratedText]:
    """All samples, with a progress bar if stderr is a terminal."""
    if not sys.stderr.isatty():
        return request.generator.generate(request.prompt, request.samples)
    from tqdm import tqdm

    with tqdm(total=request.settings.length, unit="tok", leave=False) as bar:
        return request.generator.generate(
            request.prompt, request.samples, after_token=lambda: bar.update()
        )
