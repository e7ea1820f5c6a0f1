"""A run in a row of a table: read from its manifest and the ends of small files, in a moment.

The weights are neither read nor hashed, and `config.yaml` is not checked: `details` does more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llm_timecycle.comparing.log_end import read_last_row
from llm_timecycle.config.locate import list_shipped_runs
from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.config.weight_shapes import count_parameters
from llm_timecycle.errors import RunError
from llm_timecycle.evaluation.figures import compute_figures
from llm_timecycle.runs.config_file import read_config, read_training_texts
from llm_timecycle.runs.locking import is_locked
from llm_timecycle.runs.manifest import RESTORE, read_manifest

MOST_NAMED = 3
"""Of the texts of a run, in a row."""


@dataclass(frozen=True)
class Split:
    """The size of a text of a run."""

    tokens: int = 0
    unknown: int = 0
    """Tokens that are `<unk>`."""
    words: int = 0
    characters: int = 0
    bytes: int = 0
    sha256: str = ""
    """The hash of the text."""


@dataclass(frozen=True)
class Score:
    """What follows from a validation loss; None where there is none, or the text's size is unknown.

    The names are those of `evaluation.result`. The loss is that of the training, which is without
    the spelling of unknown words: figures `with_spelling` are known only where there are none.
    """

    valid_loss_nats: float | None = None
    perplexity: float | None = None
    """Per token; infinite where that is beyond a float."""
    bits_per_character: float | None = None
    bits_per_byte: float | None = None
    bits_per_character_with_spelling: float | None = None
    bits_per_byte_with_spelling: float | None = None


@dataclass(frozen=True)
class RunSummary:
    """A run in a row; what a run has not got yet, or does not say, is None."""

    name: str
    path: str
    """What a command takes: a path, or the name of a run that comes with the program."""
    text: str
    """The names of the texts that it was trained on."""
    level: str
    vocab_size: int
    weights: int
    """How many numbers the model has."""
    steps: int | None
    planned_steps: int | None
    epochs: float | None
    tokens: int | None
    """Tokens trained on."""
    minutes: float | None
    """Spent training, over all sessions."""
    score: Score
    """Of the best weights on the validation text."""
    unknown_share: float | None
    """The share of the validation tokens that is `<unk>`."""
    best_step: int | None
    has_weights: bool
    is_training: bool
    """Whether another process trains it now."""
    date: datetime
    """When its manifest was last written, in UTC."""

    def to_row(self) -> dict[str, Any]:
        """Plain values by name, without nesting; the date is a `datetime`."""
        row: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            row |= asdict(value) if isinstance(value, Score) else {each.name: value}
        return row

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it: the date in ISO 8601, None for a figure that is not finite."""
        row = self.to_row() | {"date": self.date.isoformat(timespec="seconds")}
        return {key: None if _is_infinite(value) else value for key, value in row.items()}


def read_summary(path: Path) -> RunSummary:
    """The run in a directory.

    Raises:
        RunError: it is no run, or what is read of it is damaged.
    """
    manifest = read_manifest(path)
    level, model = _read_shape(path, manifest)
    shipped = {str(place): name for name, place in list_shipped_runs().items()}
    name = shipped.get(str(path), str(path))
    last = read_last_row(path)
    valid = read_splits(manifest).get("valid")
    best = manifest.get("best") or {}
    return RunSummary(
        name=path.name or path.absolute().name,
        path=name,
        text=name_texts(read_training_texts(path)),
        level=level,
        vocab_size=manifest["vocab_size"],
        weights=count_parameters(model, manifest["vocab_size"]),
        steps=_to_int(last.get("step")),
        planned_steps=_to_int(last.get("planned_steps")),
        epochs=last.get("epoch"),
        tokens=_to_int(last.get("tokens")),
        minutes=last["wall_s"] / 60 if "wall_s" in last else None,
        score=compute_score(best.get("valid_loss_nats"), valid),
        unknown_share=valid.unknown / valid.tokens if valid and valid.tokens else None,
        best_step=best.get("step"),
        has_weights="model.safetensors" in manifest["files"],
        is_training=is_locked(path),
        date=datetime.fromtimestamp((path / "manifest.json").stat().st_mtime, UTC),
    )


def read_splits(manifest: Mapping[str, Any]) -> dict[str, Split]:
    """The texts of a run, by the name of the split."""
    known = {each.name for each in fields(Split)}
    return {
        split: Split(**{key: value for key, value in counts.items() if key in known})
        for split, counts in manifest["corpora"].items()
    }


def compute_score(valid_loss_nats: float | None, valid: Split | None) -> Score:
    """The figures of a validation loss, in nats per token, over a text whose size is known.

    Every token after the first is predicted once, as `evaluation.stream` does.

    >>> valid = Split(tokens=101, words=20, characters=100, bytes=200)
    >>> score = compute_score(math.log(2), valid)
    >>> score.perplexity, score.bits_per_character, score.bits_per_byte
    (2.0, 1.0, 0.5)
    """
    if valid_loss_nats is None:
        return Score()
    predicted = 0 if valid is None else valid.tokens - 1
    if valid is None or predicted < 1 or valid.characters == 0:
        empty = Split(words=1, characters=1, bytes=1)
        return Score(valid_loss_nats, compute_figures(valid_loss_nats, 1, empty, None).perplexity)
    figures = compute_figures(valid_loss_nats * predicted, predicted, valid, None)
    bits = (figures.bits_per_character, figures.bits_per_byte)
    is_spelled = valid.unknown == 0
    return Score(
        valid_loss_nats, figures.perplexity, *bits, *(bits if is_spelled else (None, None))
    )


def name_texts(paths: Sequence[str]) -> str:
    """The names of some texts, of many the first.

    >>> name_texts(["a/1.txt", "a/2.txt", "a/3.txt", "a/4.txt", "a/5.txt"])
    '1.txt, 2.txt, 3.txt and 2 more'
    """
    named = ", ".join(map(name_text, paths[:MOST_NAMED]))
    more = len(paths) - MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named


def name_text(path: str) -> str:
    """The name of a text without the directories above it; of a glob, with the last of them.

    >>> name_text("../../books/novel.txt"), name_text("../books/*.txt"), name_text("python-docs")
    ('novel.txt', 'books/*.txt', 'python-docs')
    """
    *above, name = Path(path).parts or (path,)
    return f"{above[-1]}/{name}" if "*" in name and above else name


def _read_shape(run: Path, manifest: Mapping[str, Any]) -> tuple[str, ModelSettings]:
    """The tokenizer's level and the model, which the manifest has since its second format."""
    recorded = manifest.get("settings")
    if recorded is None:
        settings = read_config(run, manifest)
        return settings.tokenizer.level, settings.model
    try:
        tokenizer = TokenizerSettings.model_validate(recorded.get("tokenizer", {}))
        return tokenizer.level, ModelSettings.model_validate(recorded.get("model", {}))
    except ValidationError:
        raise RunError(
            f"the manifest of {run} is damaged in its entry for the settings. {RESTORE}"
        ) from None


def _to_int(value: float | None) -> int | None:
    return None if value is None else int(value)


def _is_infinite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
