"""Whether the model copies its training text, as the model card says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_timecycle.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from llm_timecycle.evaluation.copies.report import SampleReport
    from llm_timecycle.runs.directory import Run
    from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

SAMPLES = 20


def measure_copies(
    run: Run, tokenizer: Tokenizer, cache: Path, show_progress: bool = False
) -> SampleReport | None:
    """The copy meter's report on new texts of a run; None where its training text is not there.

    Nothing is imported for it but NumPy. With a long training text it takes the time of encoding it
    once, where the cache does not have it.

    Args:
        run: with weights. tokenizer: the run's.
        cache: where encoded texts are kept (`text.cache.open_cache`).
        show_progress: whether to draw progress bars.
    """
    from llm_timecycle.evaluation.copies.meter import TrainingText, draw_samples, measure_samples
    from llm_timecycle.evaluation.texts import open_split, open_training_text

    where = (cache, show_progress)
    try:
        training = TrainingText(*open_training_text(run, run.settings, tokenizer, *where))
    except DataError:
        return None
    held_out = None
    if "valid" in run.read_manifest()["corpora"]:
        _, held_out = open_split(run, run.settings, tokenizer, "valid", *where)
    samples, seed = draw_samples(run, tokenizer, SAMPLES)
    return measure_samples(
        run,
        tokenizer,
        samples,
        seed,
        held_out=held_out,
        training=training,
        show_progress=show_progress,
    )


def describe_copies(report: SampleReport) -> str | None:
    """What the copy meter found, in a sentence or two, without the passages themselves.

    None where it could not tell.
    """
    sampled = f"{report.count:,} new texts of {report.tokens:,} tokens together"
    if report.copied_share is None:
        if report.share_in_training_text is None:
            return None
        share = 100 * report.share_in_training_text
        return f"Of {sampled}, about {share:.1f} % stand word for word in the training text."
    beside = ""
    if report.held_out_copied_share is not None:
        beside = f" (of held-out text, {100 * report.held_out_copied_share:.1f} %)"
    longest = "No passage of that length was copied."
    if report.passages:
        longest = f"The longest copied passage has {report.passages[0].tokens:,} tokens."
    return (
        f"Of the runs of {report.run_tokens} tokens in {sampled}, {100 * report.copied_share:.1f} "
        f"% stand word for word in the training text{beside}. {longest}"
    )
