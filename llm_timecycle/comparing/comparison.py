"""Several runs side by side: the settings that differ, and what of their results is comparable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llm_timecycle.comparing.details import RunDetails, flatten
from llm_timecycle.comparing.summary import compute_score
from llm_timecycle.errors import UsageError

Axis = Literal["steps", "tokens", "minutes"]
_COLUMNS: dict[str, tuple[str, float]] = {
    "steps": ("step", 1.0),
    "tokens": ("tokens", 1.0),
    "minutes": ("wall_s", 60.0),
}
AXES = tuple(_COLUMNS)


@dataclass(frozen=True)
class Comparability:
    """Which figures of some runs can be compared, and why others cannot."""

    same_text: bool
    """Whether all have the same validation text."""
    same_tokens: bool
    """Whether all have the same tokenizer, so that a loss per token means the same."""
    uncharged: tuple[int, ...]
    """The runs, by number, whose bits per character leave out what unknown words cost."""
    unscored: tuple[int, ...]
    """The runs, by number, that have no validation loss."""

    @property
    def has_comparable_loss(self) -> bool:
        """Whether loss and perplexity can be compared."""
        return self.same_text and self.same_tokens

    @property
    def has_comparable_bits(self) -> bool:
        """Whether bits per character and byte can be compared."""
        return self.same_text and (self.same_tokens or not self.uncharged)


@dataclass(frozen=True)
class Curve:
    """The validation losses of a run, and its training losses."""

    name: str
    valid: tuple[tuple[float, float], ...]
    """Pairs of place and loss."""
    train: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class RunComparison:
    """Some runs, in the order in which they were named."""

    runs: tuple[RunDetails, ...]
    differences: dict[str, tuple[Any, ...]]
    """The settings that are not the same in all, by dotted path: the value in each run."""
    comparability: Comparability

    def to_dict(self) -> dict[str, Any]:
        """What `runs compare --json` prints."""
        judged = self.comparability
        left_out = ("settings", "changed", "versions", "files")
        return {
            "runs": [
                {key: value for key, value in run.to_dict().items() if key not in left_out}
                for run in self.runs
            ],
            "differences": {key: list(values) for key, values in self.differences.items()},
            "comparable": {
                "loss": judged.has_comparable_loss,
                "bits": judged.has_comparable_bits,
                "same_validation_text": judged.same_text,
                "same_tokenizer": judged.same_tokens,
            },
        }


def compare_runs(runs: Sequence[RunDetails]) -> RunComparison:
    """Runs side by side.

    Raises:
        UsageError: they are fewer than two, or one occurs twice.
    """
    paths = [run.summary.path for run in runs]
    if len(runs) < 2:
        raise UsageError(f"expected two runs or more to compare, received {len(runs)}")
    if twice := [path for number, path in enumerate(paths) if path in paths[:number]]:
        raise UsageError(f"{twice[0]} was given twice; expected different runs")
    settings = [flatten(run.settings) for run in runs]
    differences = {
        key: tuple(each[key] for each in settings)
        for key in settings[0]
        if any(each[key] != settings[0][key] for each in settings)
    }
    return RunComparison(tuple(runs), differences, compare_figures(runs))


def compare_figures(runs: Sequence[RunDetails]) -> Comparability:
    """Whether the figures of some runs say which is better."""
    texts = {run.splits["valid"].sha256 for run in runs if "valid" in run.splits}
    tokens = {
        (run.tokenizer_sha256, run.settings.tokenizer.level, run.settings.data.normalize)
        for run in runs
    }
    return Comparability(
        same_text=len(texts) == 1 and all("valid" in run.splits for run in runs),
        same_tokens=len(tokens) == 1,
        uncharged=tuple(
            number
            for number, run in enumerate(runs)
            if run.unknown_tokens and run.summary.score.valid_loss_nats is not None
        ),
        unscored=tuple(
            number for number, run in enumerate(runs) if run.summary.score.valid_loss_nats is None
        ),
    )


def list_curves(comparison: RunComparison, axis: Axis) -> tuple[list[Curve], str]:
    """A curve for each run that has one, and what its losses are.

    They are nats per token where all runs have the same tokenizer, else bits per character, which a
    training loss becomes with the characters per token of the training text.

    Args:
        axis: what the curves are drawn over.

    Raises:
        UsageError: no run has a validation in its log.
    """
    is_per_token = comparison.comparability.same_tokens
    curves = []
    for run in comparison.runs:
        train_scale = valid_scale = 1.0
        if not is_per_token:
            train_scale, valid_scale = (_scale_to_bits(run, split) for split in ("train", "valid"))
        valid = _list_points(run, axis, "valid_loss_nats", valid_scale)
        train = _list_points(run, axis, "train_loss_nats", train_scale)
        if valid or train:
            curves.append(Curve(run.summary.path, valid, train))
    if not curves:
        names = ", ".join(run.summary.path for run in comparison.runs)
        raise UsageError(f"there is no curve to draw: none of {names} has losses in a metrics.csv")
    return curves, "nats per token" if is_per_token else "bits per character"


def _list_points(
    run: RunDetails, axis: Axis, column: str, scale: float
) -> tuple[tuple[float, float], ...]:
    place, unit = _COLUMNS[axis]
    rows = [row for row in run.history if place in row and column in row]
    if not math.isfinite(scale):
        return ()
    return tuple((row[place] / unit, row[column] * scale) for row in rows)


def _scale_to_bits(run: RunDetails, split: str) -> float:
    """Bits per character of a loss of one nat per token over a text; nan where that is unknown."""
    bits = compute_score(1.0, run.splits.get(split)).bits_per_character
    return math.nan if bits is None else bits
