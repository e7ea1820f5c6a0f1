"""One line at the end of a training: how much of what the model writes was copied."""

from __future__ import annotations

from shlex import quote

from llm_timecycle.errors import UsageError
from llm_timecycle.evaluation.copies.meter import TrainingText, draw_samples, measure_samples
from llm_timecycle.evaluation.copies.report import describe_passage
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.prepare import PreparedText

SAMPLES, SAMPLE_TOKENS = 5, 200
SEARCHED_TOKENS = 1 << 25
"""Of the training text, its beginning: about a second."""


def describe_copies(run: Run, text: PreparedText) -> str:
    """What the copy meter says of a few texts, in one line.

    Args:
        run: trained, with its best weights.
        text: the texts that it was trained on.
    """
    try:
        samples, seed = draw_samples(run, text.tokenizer, SAMPLES, SAMPLE_TOKENS)
    except UsageError as error:  # the settings of `generation` do not suit the vocabulary
        return f"No new texts were looked at for copies of the training text: {error}."
    report = measure_samples(
        run,
        text.tokenizer,
        samples,
        seed,
        held_out=text.valid,
        training=TrainingText(text.corpora["train"], text.train),
        search_at_most=SEARCHED_TOKENS,
        most_passages=1,
    )
    if report.copied_share is None:
        return "The new texts are too short to look for copies of the training text."
    beside = ""
    if report.held_out_copied_share is not None:
        beside = f" (held-out text {100 * report.held_out_copied_share:.1f} %)"
    searched = f"; {report.note}" if report.note else ""
    longest = "; no passage of that length"
    if report.passages:
        longest = f"; the longest passage: {describe_passage(report.passages[0])}"
    return (
        f"Of {report.count} new texts, {100 * report.copied_share:.1f} % of the "
        f"{report.run_tokens}-grams stand in the training text{beside}{longest}{searched}. "
        f"More: llm-timecycle evaluate {quote(str(run.path))} --samples 100"
    )
