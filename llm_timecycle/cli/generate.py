"""`llm-timecycle generate`."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from llm_timecycle.cli.options import HELP, PathName, generation_settings
from llm_timecycle.cli.printing import escape_controls, print_json, print_text
from llm_timecycle.cli.prompting.prompts import continue_prompts, read_prompt, show_prompt
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
@click.argument("run", type=PathName())
@click.option("--prompt", metavar="TEXT", help="The text to continue.")
@click.option(
    "--prompt-file",
    type=PathName(as_text=True),
    metavar="FILE",
    help="Read the text to continue from a file, or from standard input if FILE is -. One line "
    "break at its end is dropped.",
)
@click.option(
    "--prompts",
    type=PathName(),
    metavar="FILE",
    help="Continue every prompt of a JSON Lines file, many at once. A line is a text in double "
    'quotes, or an object such as {"prompt": "Once", "id": 1, "temperature": 0.6}.',
)
@click.option(
    "--output",
    type=PathName(),
    metavar="FILE",
    help="With --prompts, the JSON Lines file for the texts, in the order of the prompts. If the "
    "command is stopped, the same command goes on.",
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
@click.option(
    "--top-logprobs",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="With --json or --prompts, also the N most likely tokens at the place of each, with their "
    "log-probabilities: the model's, before penalties, temperature and filters.",
)
@click.pass_context
def command(context: click.Context, /, run: Path, **options: Any) -> None:
    """Generate text from a trained model.

    RUN is a run directory, or a model that comes with the program: demo (English) or demo-zh
    (Chinese).

    Prints the prompt and its continuation. Without a prompt, the model starts a new text. Settings
    without an option on the command line come from the section generation of the run's config.yaml.
    Several samples are printed one after another, each under a numbered line.

    \b
    llm-timecycle generate demo --prompt "One morning"
    llm-timecycle generate runs/my --prompt "Once upon"
    llm-timecycle generate runs/my --prompt-file start.txt --length 500 --temperature 0.6
    llm-timecycle generate runs/my --interactive
    llm-timecycle generate runs/my --prompts prompts.jsonl --output texts.jsonl
    """
    start_s = time.perf_counter()
    asked = _Asked(**{field.name: options.pop(field.name) for field in fields(_Asked)})
    asked.check()
    opened = open_run(run)
    given = _list_given(options)
    settings = override_settings(opened.settings.generation, given, _write_option)
    _check_beams(settings.beams, asked)
    tokenizer = opened.load_tokenizer()
    _check_top_logprobs(asked.top_logprobs, tokenizer.vocab_size)
    if not given.keys().isdisjoint({"ban", "bias"}):  # refuse them by the names of the options
        make_plan(settings, tokenizer, _write_option)
    if asked.prompts is not None and asked.output is not None:
        continue_prompts(
            opened,
            tokenizer,
            settings,
            prompts_path=asked.prompts,
            output=asked.output,
            engine=asked.engine,
            top_logprobs=asked.top_logprobs or 0,
        )
        return
    source = asked.prompt_file
    text = (asked.prompt or "") if source is None else read_prompt(source)
    rows = max(asked.samples, settings.beams)
    loaded = make_engine(opened, asked.engine, rows=rows, tokens=settings.length)
    load_s = time.perf_counter() - start_s
    if asked.interactive:
        from llm_timecycle.cli.prompting.interactive import PromptLoop

        PromptLoop(loaded, tokenizer, settings).run()
        return
    if warning := describe_unknown_tokens(tokenizer, text):
        click.echo(f"Warning: {escape_controls(warning)}", err=True)
    generator = TextGenerator(
        loaded,
        tokenizer,
        settings,
        with_logprobs=asked.as_json,
        top_logprobs=asked.top_logprobs or 0,
    )
    request = _Request(run, loaded, tokenizer, settings, generator, text, asked.samples)
    is_streamed = rows == 1 and asked.stream is not False and not asked.as_json
    try:
        if asked.as_json:
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
class _Asked:
    """The options of the command that are not settings of `generation`."""

    prompt: str | None
    prompt_file: str | None
    prompts: Path | None
    output: Path | None
    samples: int
    stream: bool | None
    interactive: bool
    engine: str
    as_json: bool
    top_logprobs: int | None

    def check(self) -> None:
        """Raise UsageError if two of them cannot be combined."""
        if self.interactive:
            self._refuse(
                "--interactive reads prompts and prints each text as it grows",
                prompts=self.prompts is not None,
                no_stream=self.stream is False,
                top_logprobs=self.top_logprobs is not None,
            )
        if (self.prompts is None) != (self.output is None):
            there, lacking = (
                ("--prompts", "--output") if self.prompts else ("--output", "--prompts")
            )
            raise UsageError(f"{there} FILE needs {lacking} FILE: give both, or leave both out")
        if self.prompts is not None:
            self._refuse(
                "--prompts reads its prompts from a file and writes one text for each",
                stream=self.stream is not None,
            )
        elif self.top_logprobs is not None and not self.as_json:
            raise UsageError("--top-logprobs is part of the JSON object: add --json")
        if self.prompt is not None and self.prompt_file is not None:
            raise UsageError("give --prompt or --prompt-file, not both")
        if self.stream and self.samples > 1:
            raise UsageError(
                "--stream prints one text as it grows: leave out --stream or --samples"
            )
        if self.stream and self.as_json:
            raise UsageError("--json prints one object at the end: leave out --stream or --json")

    def _refuse(self, reason: str, **beside: bool) -> None:
        """Raise UsageError for options that are given but have no meaning here."""
        beside = {
            "prompt": self.prompt is not None,
            "prompt_file": self.prompt_file is not None,
            "samples": self.samples > 1,
            "json": self.as_json,
            **beside,
        }
        refused = [f"--{name.replace('_', '-')}" for name, is_given in beside.items() if is_given]
        if refused:
            raise UsageError(f"{reason}: leave out {' and '.join(refused)}")


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


def _check_beams(beams: int, asked: _Asked) -> None:
    if beams == 1:
        return
    if asked.stream:
        raise UsageError(
            "--stream cannot be combined with --beams: the best text of a beam search is only "
            "known at the end. Leave out one of them"
        )
    if asked.top_logprobs is not None:
        raise UsageError(
            f"--top-logprobs cannot be combined with --beams {beams}, because a beam search does "
            f"not record them. Leave out one of them"
        )
    if asked.samples > beams:
        raise UsageError(
            f"--samples: received {asked.samples}; expected at most {beams}, the number of texts "
            f"that --beams {beams} finds"
        )


def _check_top_logprobs(count: int | None, vocab_size: int) -> None:
    if count is not None and count > vocab_size:
        raise UsageError(
            f"--top-logprobs: received {count}; expected at most {vocab_size}, the number of "
            f"tokens of this model"
        )


def _print_stream(request: _Request) -> None:
    print_text(show_prompt(request.prompt, request.tokenizer), nl=False)
    for piece in request.generator.stream(request.prompt):
        print_text(piece, nl=False)
    click.echo()


def _print_whole(request: _Request) -> None:
    texts = _generate(request)
    shown = show_prompt(request.prompt, request.tokenizer)
    for number, generated in enumerate(texts, 1):
        if request.samples > 1:
            click.echo(f"=== sample {number} of {len(texts)} ===")
        print_text(f"{shown}{generated.text}")


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
