"""What a run tells of its training, for the model card: from its manifest and its `metrics.csv`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_timecycle.errors import RunError
from llm_timecycle.evaluation.figures import compute_perplexity
from llm_timecycle.exporting.huggingface.run_files import publish_manifest
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.manifest import RESTORE, read_whole


@dataclass(frozen=True)
class Metric:
    """A figure of a held-out text."""

    type: str
    """Its identifier, that of the Hub's list of metrics where it is there."""
    name: str
    """What people call it."""
    value: float


@dataclass(frozen=True)
class TrainingFacts:
    """How a run was trained. A fact that the run does not know is None."""

    corpora: Mapping[str, Mapping[str, int]]
    """Of each text ("train", "valid", "test"): tokens, words, characters, bytes."""
    versions: Mapping[str, str]
    """Of the program, of Python and of the libraries that trained it."""
    best_step: int | None
    """The training step whose weights these are."""
    metrics: tuple[Metric, ...]
    """Of the validation text, at that step."""
    began_with: str | None = None
    """What it had its first weights from, for a sentence; None where they were drawn."""
    steps: int | None = None
    """Training steps in all."""
    epochs: float | None = None
    """Passes over the training text."""
    tokens_read: int | None = None
    """Training tokens that were read, repeated ones included."""
    minutes: float | None = None
    """Wall time, validation and checkpoints included."""


def read_facts(run: Run) -> TrainingFacts:
    """What is known of a run's training.

    Raises:
        RunError: the manifest or the metrics are damaged.
    """
    manifest = run.read_manifest()
    published = publish_manifest(manifest)
    rows = _read_rows(run, manifest)
    best: Mapping[str, Any] = published["best"] or {}
    step, loss_nats = best.get("step"), best.get("valid_loss_nats")
    corpora = published["corpora"]
    facts = {
        "corpora": corpora,
        "versions": published["versions"],
        "best_step": step,
        "metrics": _list_metrics(loss_nats, corpora.get("valid", {}), _find_accuracy(rows, step)),
        "began_with": _describe_origin(published.get("origin")),
    }
    if not rows:
        return TrainingFacts(**facts)
    last = rows[-1]
    wall_s = last.get("wall_s")
    return TrainingFacts(
        **facts,
        steps=_to_int(last.get("step")),
        epochs=last.get("epoch"),
        tokens_read=_to_int(last.get("tokens")),
        minutes=None if wall_s is None else wall_s / 60,
    )


def _list_metrics(
    loss_nats: float | None, corpus: Mapping[str, int], accuracy: float | None
) -> tuple[Metric, ...]:
    """The figures that follow from the mean loss over the validation text.

    bits per character = loss (tokens - 1) / ln 2 / characters, where no token is unknown: otherwise
    it would leave out what the unknown words cost.
    """
    if loss_nats is None:
        return ()
    metrics = [
        Metric("perplexity", "Perplexity per token", compute_perplexity(loss_nats)),
        Metric("loss", "Loss, nats per token", loss_nats),
    ]
    tokens, characters = corpus.get("tokens", 0), corpus.get("characters", 0)
    if tokens > 1 and characters and corpus.get("unknown") == 0:
        bits = loss_nats * (tokens - 1) / math.log(2) / characters
        metrics.append(Metric("bits_per_character", "Bits per character", bits))
    if accuracy is not None:
        metrics.append(Metric("accuracy", "Accuracy of the next token", accuracy))
    return tuple(metric for metric in metrics if math.isfinite(metric.value))


def _describe_origin(origin: Mapping[str, Any] | None) -> str | None:
    if origin is None:
        return None
    name = origin.get("run")
    return f"{name}, which comes with the program" if name else "another model"


def _find_accuracy(rows: list[dict[str, float]], step: int | None) -> float | None:
    """The accuracy of the validation after a step."""
    found = [row for row in rows if row.get("step") == step and "valid_accuracy" in row]
    return found[-1]["valid_accuracy"] if found else None


def _read_rows(run: Run, manifest: Mapping[str, Any]) -> list[dict[str, float]]:
    """The rows of `metrics.csv`, as far as the manifest vouches for it; empty cells left out."""
    path = run.metrics_path
    entry = manifest["files"].get(path.name)
    if entry is None:
        return []
    content = read_whole(run.path, path.name)[: entry["bytes"]]
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
        return [{key: float(cell) for key, cell in row.items() if cell} for row in reader]
    except (ValueError, TypeError, csv.Error) as error:
        raise RunError(f"{path} cannot be read: {error}. {RESTORE}") from error


def _to_int(number: float | None) -> int | None:
    return None if number is None else int(number)
