"""Several runs as text, a column each. Computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from shlex import quote
from typing import TYPE_CHECKING, Any

from llm_timecycle.comparing.comparison import RunComparison
from llm_timecycle.comparing.details import TEXT_KEYS, RunDetails
from llm_timecycle.comparing.show import write_sample
from llm_timecycle.comparing.summary import name_texts
from llm_timecycle.comparing.tables import (
    LEGEND_NOT_CHARGED,
    has_uncharged_bits,
    write_bits,
    write_count,
    write_date,
    write_number,
    write_state,
    write_steps,
)
from llm_timecycle.config.dump import write_value
from llm_timecycle.path_names import show_name
from llm_timecycle.profiling.format import format_count
from llm_timecycle.profiling.render.tables import make_table, render

if TYPE_CHECKING:
    from rich.console import RenderableType

_RESULTS: dict[str, Callable[[RunDetails], str]] = {
    "text": lambda run: show_name(run.summary.text),
    "vocabulary": lambda run: f"{run.summary.vocab_size:,}",
    "weights": lambda run: format_count(run.summary.weights),
    "steps": lambda run: write_steps(run.summary),
    "epochs": lambda run: write_number(run.summary.epochs, 2),
    "minutes": lambda run: write_number(run.summary.minutes, 1),
    "tokens/s": lambda run: write_number(run.tokens_per_s, 0),
    "best step": lambda run: write_count(run.summary.best_step),
    "loss (nats per token)": lambda run: write_number(run.summary.score.valid_loss_nats, 4),
    "perplexity": lambda run: write_number(run.summary.score.perplexity, 2),
    "bits per character": lambda run: write_bits(run.summary, run.summary.score.bits_per_character),
    "bits per byte": lambda run: write_bits(run.summary, run.summary.score.bits_per_byte),
    "date": lambda run: write_date(run.summary.date),
    "state": lambda run: write_state(run.summary),
}


def write_comparison(comparison: RunComparison, width: int) -> str:
    """Runs side by side, in lines of `width` columns."""
    return render(_list_parts(comparison), width)


def explain_comparability(comparison: RunComparison) -> str:
    """What can be compared, and what to do about what cannot."""
    judged = comparison.comparability
    names = [run.summary.path for run in comparison.runs]
    if judged.unscored:
        missing = ", ".join(show_name(names[number]) for number in judged.unscored)
        return f"No validation score yet: {missing}."
    uncharged = ", ".join(show_name(names[number]) for number in judged.uncharged)
    evaluate = f"llm-timecycle evaluate {quote(names[(judged.uncharged or (0,))[0]])}"
    if judged.has_comparable_loss:
        return "The validation text and the tokens are the same: all figures can be compared."
    if not judged.same_text:
        reason = "The validation texts differ, and a text can be easier than another"
        return (
            f"{reason}: no figure says which model is better. Score all on one text that none was "
            f"trained on: {evaluate} --data TEXT"
        )
    remark = (
        "The validation text is the same, the tokens are not. Loss and perplexity are per token "
        "and cannot be compared; bits per character and per byte can"
    )
    if not judged.uncharged:
        return f"{remark}."
    return (
        f"{remark}, once unknown words pay for their spelling, which they do not here in "
        f"{uncharged}. With it: {evaluate}"
    )


def _list_parts(comparison: RunComparison) -> Iterator[RenderableType]:
    runs = comparison.runs
    names = [show_name(run.summary.path) for run in runs]
    rows = [
        (path, *(_write_setting(path, value) for value in values))
        for path, values in comparison.differences.items()
        if path != TEXT_KEYS[0]  # a row of the results
    ]
    if rows:
        yield from (make_table([("settings that differ", *names), *rows]), "")
    else:
        yield from ("The settings are the same.", "")
    rows = [(label, *map(write, runs)) for label, write in _RESULTS.items()]
    rows = [row for row in rows if any(cell not in ("", "-") for cell in row[1:])]
    yield make_table([("results", *names), *rows])
    if any(has_uncharged_bits(run.summary) for run in runs):
        yield from ("", LEGEND_NOT_CHARGED)
    yield from ("", explain_comparability(comparison))
    sampled = [run for run in runs if run.sample is not None]
    if sampled:
        yield from ("", "Last samples of the training")
        for run in sampled:
            assert run.sample is not None
            yield from (f"{show_name(run.summary.path)}", *write_sample(run.sample))


def _write_setting(path: str, value: Any) -> str:
    if path in TEXT_KEYS and value is not None:
        return show_name(name_texts([value] if isinstance(value, str) else value))
    return show_name(write_value(value))
