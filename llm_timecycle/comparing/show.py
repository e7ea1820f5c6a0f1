"""One run as text, section by section. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from typing import TYPE_CHECKING

from llm_timecycle.comparing.details import TEXT_KEYS, RunDetails, flatten
from llm_timecycle.comparing.samples import Sample
from llm_timecycle.comparing.summary import RunSummary, Split
from llm_timecycle.comparing.tables import (
    LEGEND_NOT_CHARGED,
    has_uncharged_bits,
    write_bits,
    write_count,
    write_number,
    write_steps,
)
from llm_timecycle.config.dump import write_value
from llm_timecycle.path_names import show_name
from llm_timecycle.profiling.format import format_count, format_duration, format_share
from llm_timecycle.profiling.render.tables import make_table, render
from llm_timecycle.training.reporting.curve import draw_curve

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llm_timecycle.profiling.render.rows import Row

_SPLITS = {"train": "training", "valid": "validation", "test": "test"}


def write_details(run: RunDetails, width: int) -> str:
    """Everything of a run, in lines of `width` columns."""
    return render(_list_parts(run), width)


def write_sample(sample: Sample) -> list[RenderableType]:
    """A sample under its heading, set off from the left."""
    from rich.padding import Padding
    from rich.text import Text

    return [f"  {show_name(sample.heading)}", Padding(Text(sample.text), (0, 0, 0, 4))]


def _list_parts(run: RunDetails) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(f"{show_name(run.summary.path)}: {_describe_state(run.summary)}")
    sections: dict[str, list[Row]] = {
        "Text": list(_list_texts(run)),
        "Model": list(_list_model(run)),
        "Settings other than the defaults": [
            (f"  {path}", _write_setting(value), f"default {_write_setting(default)}")
            for path, (default, value) in run.changed.items()
        ],
        "Training": list(_list_training(run)),
        "Best validation": list(_list_best(run)),
    }
    for heading, rows in sections.items():
        if rows:
            yield from (
                "",
                heading,
                make_table([("",) * len(rows[0]), *rows], left=3, has_head=False),
            )
    if run.summary.best_step is not None and has_uncharged_bits(run.summary):
        yield f"  {LEGEND_NOT_CHARGED}"
    if run.sample is not None:
        yield from ("", "Last sample of the training", *write_sample(run.sample))
    files = [
        (f"  {name}", "missing" if size is None else format_count(size, "B"))
        for name, size in run.files.items()
    ]
    yield from ("", "Files", make_table([("", ""), *files], has_head=False))
    yield from ("", "Next")
    yield from (Text(f"  {command}", no_wrap=True) for command in _list_commands(run))


def _describe_state(summary: RunSummary) -> str:
    saved = f"last saved {summary.date.astimezone():%Y-%m-%d %H:%M}"
    if summary.is_training:
        return f"being trained now, {saved}"
    return f"{'trained' if summary.has_weights else 'no weights yet'}, {saved}"


def _list_texts(run: RunDetails) -> Iterator[Row]:
    settings = flatten(run.settings)
    for key in TEXT_KEYS:
        split = key.removeprefix("data.")
        source = settings[key]
        size = run.splits.get(split)
        if size is None and source is None:
            yield (f"  {_SPLITS[split]}", "none")
            continue
        paths = [source] if isinstance(source, str) else source or []
        where = ", ".join(show_name(path) for path in paths) or "the end of the training text"
        yield (f"  {_SPLITS[split]}", where)
        if size is not None:
            yield ("", _describe_size(size))
    tokenizer = run.settings.tokenizer
    known = f"{run.summary.vocab_size:,} tokens (at most {tokenizer.vocab_size:,})"
    yield ("  tokenizer", f"{tokenizer.level} level, {known}")


def _describe_size(size: Split) -> str:
    counts = {"words": size.words, "characters": size.characters, "bytes": size.bytes}
    known = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    unknown = f" ({format_share(size.unknown / size.tokens)} unknown)" if size.unknown else ""
    return f"{size.tokens:,} tokens{unknown}, {known}"


def _list_model(run: RunDetails) -> Iterator[Row]:
    for part, weights in run.weights_by_part.items():
        yield (f"  {part}", f"{weights:,} weights")
    yield ("  all", f"{run.summary.weights:,} weights")
    if run.origin is not None:
        added = run.origin.get("added_tokens")
        extended = f", {added:,} tokens added" if isinstance(added, int) and added else ""
        name = show_name(str(run.origin.get("run")))
        yield ("  begun with the weights of", f"{name}{extended}")


def _list_training(run: RunDetails) -> Iterator[Row]:
    summary = run.summary
    if summary.steps is None:
        return
    yield ("  steps", write_steps(summary))
    yield ("  epochs", write_number(summary.epochs, 2))
    yield ("  tokens", write_count(summary.tokens))
    yield ("  minutes", write_number(summary.minutes, 1))
    if run.tokens_per_s is not None:
        yield ("  tokens/s", f"{write_number(run.tokens_per_s, 0)}, without validations")
    total_s = sum(run.stages_s.values())
    for stage, spent_s in run.stages_s.items():
        if spent_s > 0:
            yield (f"  {stage}", f"{format_duration(spent_s)}, {format_share(spent_s / total_s)}")
    losses = run.list_column("train_loss_nats")
    if losses:
        yield ("  training loss", f"{write_number(losses[-1], 4)} at the end")
    if curve := draw_curve(run.list_column("valid_loss_nats")):
        yield ("  validation loss", curve)


def _list_best(run: RunDetails) -> Iterator[Row]:
    summary, score = run.summary, run.summary.score
    if score.valid_loss_nats is None:
        return
    yield ("  step", write_count(summary.best_step))
    yield ("  loss", f"{write_number(score.valid_loss_nats, 4)} nats per token")
    yield ("  perplexity", f"{write_number(score.perplexity, 2)} per token")
    if score.bits_per_character is not None:
        yield ("  bits per character", write_bits(summary, score.bits_per_character))
        yield ("  bits per byte", write_bits(summary, score.bits_per_byte))
    accuracy = run.find_best("valid_accuracy")
    if accuracy is not None:
        yield ("  accuracy", format_share(accuracy))


def _write_setting(value: object) -> str:
    return show_name(write_value(value))


def _list_commands(run: RunDetails) -> Iterator[str]:
    summary = run.summary
    name = quote(summary.path)
    if summary.is_training:
        return
    if summary.has_weights:
        yield f"llm-timecycle generate {name}"
        yield f"llm-timecycle evaluate {name}"
    if run.is_shipped:
        yield f"llm-timecycle train --from {name} TEXT"
        return
    if summary.planned_steps is None or (summary.steps or 0) < summary.planned_steps:
        yield f"llm-timecycle train {name} --resume"
