"""`llm-timecycle demo`: what shipped models write, then a minute of training, and a comparison."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llm_timecycle.cli.options import HELP, PathName, config_overrides

if TYPE_CHECKING:
    from llm_timecycle.evaluation.result import EvaluationResult

SHIPPED = "demo"
PROMPTS = {SHIPPED: "One morning", "demo-zh": "有一天"}
"""Of the shipped runs, what each continues; the new run continues the first."""
TEXT = ("sample-english", "--set", "data.documents=line")
"""What `SHIPPED` was trained on, read in the same way."""
DURATIONS = {"training.minutes", "training.max_steps", "training.epochs"}
"""Each of them, set by the user, takes the place of the minute."""


@click.command("demo", context_settings=HELP)
@click.option(
    "--run",
    "run_path",
    type=PathName(),
    help="Directory to write the run to.  [default: runs/demo; where that exists, with the time]",
)
@config_overrides
@click.pass_context
def command(context: click.Context, run_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Show what two shipped models write, train one for a minute, and compare.

    The shipped models, demo (English) and demo-zh (Chinese), answer at once. Then a model is
    trained on the text that demo was trained on, for one minute, and scored beside it. Prints each
    command before it runs, so that you can repeat it. --set is for the training.
    """
    run = str(choose_run_path(datetime.now()) if run_path is None else run_path)
    tour = _Tour(context.find_root().command)
    tour.open_part("What two models write that come with the program")
    for name, prompt in PROMPTS.items():
        tour.run("generate", name, "--prompt", prompt, "--seed", "2")
    tour.open_part("Training a model for one minute on the stories that the first was trained on")
    has_duration = any(each.partition("=")[0].strip() in DURATIONS for each in overrides)
    minute = [] if has_duration else ["--minutes", "1"]
    options = [word for override in overrides for word in ("--set", override)]
    tour.run("train", *TEXT, *minute, "--run", run, *options)
    tour.open_part("Letting it write")
    tour.run("generate", run, "--prompt", PROMPTS[SHIPPED], "--seed", "2")
    tour.open_part("Scoring both on text that they were not trained on")
    own, shipped = tour.score(run), tour.score(SHIPPED)
    click.echo(compare_scores(run, own, shipped, have_same_text(run, SHIPPED)))
    click.secho("\nTry next:", err=True, bold=True)
    click.echo(
        f'  {tour.program} generate {SHIPPED} --prompt "The old clock" --temperature 0.5\n'
        f"  {tour.program} train novel.txt    # your text: a file, a directory or a glob",
        err=True,
    )


class _Tour:
    """Parts with headings, and commands that are printed before they run.

    Attributes:
        program: how a shell calls this program.
    """

    def __init__(self, group: click.Command) -> None:
        self.program = name_program(sys.argv[0])
        self._group = group
        self._parts = 0

    def open_part(self, heading: str) -> None:
        """Print the heading of the next part."""
        self._parts += 1
        click.secho(f"\n{self._parts}  {heading}", err=True, bold=True)

    def run(self, *words: str) -> None:
        """Run a command of the program."""
        self._show(words)
        self._group.main(list(words), prog_name="llm-timecycle", standalone_mode=False)

    def score(self, run: str) -> EvaluationResult:
        """Run `evaluate`, for its figures too."""
        from llm_timecycle.evaluation.api import evaluate

        self._show(["evaluate", run])
        result = evaluate(run, show_progress=sys.stderr.isatty())
        click.echo(str(result))
        return result

    def _show(self, words: Sequence[str]) -> None:
        click.echo(f"$ {self.program} {shlex.join(words)}", err=True)


def compare_scores(
    run: str, own: EvaluationResult, shipped: EvaluationResult, same_text: bool
) -> str:
    """A line on how a new run compares with `SHIPPED`, in bits per character.

    Args:
        run: what the new run is called.
        own, shipped: their scores.
        same_text: whether these are of one text.
    """
    new, old = (each.bits_per_character_with_spelling for each in (own, shipped))
    if not same_text or new is None or old is None:
        return f"{run} and {SHIPPED} were scored on different texts: do not compare the figures."
    order = "worse than" if new > old else "better than"
    if round(new, 2) == round(old, 2):
        order = "as good as"
    return (
        f"On the same text, {run} is {order} {SHIPPED}: {new:.2f} and {old:.2f} bits per "
        f"character (lower is better)."
    )


def have_same_text(*runs: str) -> bool:
    """Whether all runs were given the same validation text."""
    from llm_timecycle.runs.directory import open_run

    corpora = [open_run(Path(run)).read_manifest()["corpora"] for run in runs]
    return len({corpus.get("valid", {}).get("sha256") for corpus in corpora}) == 1


def choose_run_path(now: datetime) -> Path:
    """`runs/demo`, or with the time in its name where that exists."""
    path = Path("runs/demo")
    return path.with_name(f"demo-{now:%Y%m%d-%H%M%S}") if path.exists() else path


def name_program(called: str) -> str:
    """How a shell finds this program: by its name where that is on the path, else by its file.

    Args:
        called: the file that was called, `sys.argv[0]`.
    """
    if shutil.which("llm-timecycle") is None and Path(called).name == "llm-timecycle":
        return shlex.quote(called)
    return "llm-timecycle"
