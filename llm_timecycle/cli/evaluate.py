"""`llm-timecycle evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from llm_timecycle.cli.options import HELP, PathName
from llm_timecycle.cli.printing import print_json, print_text
from llm_timecycle.cli.terminal import set_up_logging
from llm_timecycle.config.sources import Override
from llm_timecycle.errors import DataError, HeldOutTextError


@click.command("evaluate", context_settings=HELP)
@click.argument("run", type=PathName())
@click.option(
    "--data",
    type=PathName(as_text=True),
    metavar="TEXT",
    help="Text to score: a file, a directory, or a glob.",
)
@click.option(
    "--split",
    type=click.Choice(["valid", "test"]),
    help="Which held-out text of the run to score.  [default: valid]",
)
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Replace one setting under data, such as data.train=novel.txt. Repeatable.",
)
@click.option(
    "--exact", is_flag=True, help="Read the text in one lane and in float32, many times slower."
)
@click.option(
    "--cache",
    is_flag=True,
    help="Add a score with the neural cache, tuned on the validation text (Grave et al. 2017).",
)
@click.option(
    "--dynamic",
    is_flag=True,
    help="Add a score with dynamic evaluation: a copy of the weights follows the text "
    "(Krause et al. 2018).",
)
@click.option(
    "--samples",
    type=click.IntRange(0, 1000),
    default=0,
    metavar="N",
    help="Sample N texts and say what of them was copied from the training text.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    run: Path,
    data: str | None,
    split: str | None,
    overrides: tuple[str, ...],
    exact: bool,
    cache: bool,
    dynamic: bool,
    samples: int,
    as_json: bool,
) -> None:
    """Score a trained model on text that it was not trained on.

    Every token after the first is predicted exactly once. A long text is read in up to 128 lanes
    side by side, each after a warm-up on the 512 tokens before it, and in bfloat16 where the model
    was trained in it; --exact reads it in one lane and in float32.

    To compare models with different tokenizers, compare bits per character or perplexity per word,
    in which unknown words pay for their spelling. With --json these are the keys that end in
    with_spelling. A text that the model was trained on is named in a warning.

    --cache and --dynamic each add a score to the plain one, which does not change; with both, there
    is a score of the two together as well. What they need is tuned on the validation text, never on
    the text that is scored. --samples compares new texts of the model with the training text: the
    longest passages that are the same and where they are, the share of copied 8-grams, repetition.

    If the run's text was moved, --set data.train=FILE names its new place.

    \b
    llm-timecycle evaluate runs/my
    llm-timecycle evaluate runs/my --split test --json
    llm-timecycle evaluate runs/my --data other.txt
    llm-timecycle evaluate runs/my --cache --dynamic
    llm-timecycle evaluate runs/my --samples 100
    """
    if data is not None and split is not None:
        raise click.UsageError("give --data or --split, not both")
    set_up_logging()
    from llm_timecycle.evaluation.api import evaluate_with
    from llm_timecycle.evaluation.extras import Extras

    given = [Override(each) for each in overrides]
    try:
        extras = Extras(cache, dynamic, samples)
        result = evaluate_with(run, data, split, exact, given, sys.stderr.isatty(), extras)
    except HeldOutTextError as error:
        raise DataError(f"{error.problem}. To score another text, use --data FILE") from error
    if as_json:
        print_json(result.to_dict())
    else:
        print_text(str(result))
