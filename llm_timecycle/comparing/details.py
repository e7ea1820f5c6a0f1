"""Everything of one run worth knowing, read without its weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from llm_timecycle.comparing.samples import Sample, find_last_sample
from llm_timecycle.comparing.summary import RunSummary, Split, read_splits, read_summary
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import RunError
from llm_timecycle.profiling.source import read_history
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.training.reporting.metrics import STAGES

TEXT_KEYS = ("data.train", "data.valid", "data.test")
Changes = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class RunDetails:
    """A run, its texts, its model and how its training went."""

    summary: RunSummary
    settings: Settings
    """As `config.yaml` has them, paths of texts absolute."""
    splits: Mapping[str, Split]
    tokenizer_sha256: str
    """The hash of `tokenizer.json`."""
    weights_by_part: Mapping[str, int]
    """How many numbers each layer has."""
    changed: Changes
    """The settings that differ from the defaults, by dotted path: the default, the value."""
    history: Sequence[Mapping[str, float]]
    """Rows of `metrics.csv`, each with the columns that have a value."""
    sample: Sample | None
    """The last one that was written during training."""
    origin: Mapping[str, str | int] | None
    """The run whose weights it began with, as its manifest names it."""
    files: Mapping[str, int | None]
    """Size in bytes of every file that its manifest names, and of every checkpoint; None for what
    is missing."""
    versions: Mapping[str, str | int]
    """Of the packages that made it."""
    is_shipped: bool
    """Whether it comes with the program."""

    @property
    def unknown_tokens(self) -> int:
        """Tokens of the validation text that are `<unk>`."""
        return self.splits.get("valid", Split()).unknown

    @property
    def stages_s(self) -> dict[str, float]:
        """Seconds of each stage of the training; empty where there is no log."""
        spent = {stage: sum(row.get(f"{stage}_s", 0.0) for row in self.history) for stage in STAGES}
        return spent if self.history else {}

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens trained on in each second of training steps, without validations."""
        stages_s = self.stages_s
        training_s = sum(stages_s.get(stage, 0.0) for stage in ("input", "compute", "other"))
        tokens = self.summary.tokens
        return tokens / training_s if tokens is not None and training_s > 0 else None

    def list_column(self, name: str) -> list[float]:
        """The values of a column of the log, in order."""
        return [row[name] for row in self.history if name in row]

    def find_best(self, name: str) -> float | None:
        """The value of a column at the best validation."""
        for row in reversed(self.history):
            if row.get("step") == self.summary.best_step and "valid_loss_nats" in row:
                return row.get(name)
        return None

    def to_dict(self) -> dict[str, Any]:
        """What `runs show --json` prints."""
        losses = self.list_column("train_loss_nats")
        return {
            **self.summary.to_dict(),
            "texts": {split: asdict(size) for split, size in self.splits.items()},
            "settings": self.settings.model_dump(),
            "changed": {key: list(pair) for key, pair in self.changed.items()},
            "tokenizer_sha256": self.tokenizer_sha256,
            "weights_by_part": dict(self.weights_by_part),
            "valid_accuracy": self.find_best("valid_accuracy"),
            "train_loss_nats": losses[-1] if losses else None,
            "validations": [
                {"step": int(row["step"]), "valid_loss_nats": row["valid_loss_nats"]}
                for row in self.history
                if "step" in row and "valid_loss_nats" in row
            ],
            "stages_s": self.stages_s,
            "tokens_per_s": self.tokens_per_s,
            "sample": None if self.sample is None else asdict(self.sample),
            "origin": None if self.origin is None else dict(self.origin),
            "files": dict(self.files),
            "versions": dict(self.versions),
        }


def read_details(run: str | Path) -> RunDetails:
    """The run that a path, or the name of one that comes with the program, means.

    Raises:
        RunError: it is missing or damaged; the weights are not read.
    """
    opened = open_run(Path(run))
    manifest = opened.read_manifest()
    shapes = compute_parameter_shapes(opened.settings.model, opened.vocab_size)
    parts: dict[str, int] = defaultdict(int)
    for name, shape in shapes.items():
        parts[name.partition(".")[0]] += prod(shape)
    return RunDetails(
        summary=read_summary(opened.path),
        settings=opened.settings,
        splits=read_splits(manifest),
        tokenizer_sha256=manifest["files"]["tokenizer.json"]["sha256"],
        weights_by_part=dict(parts),
        changed=list_changed(opened.settings),
        history=_read_rows(opened),
        sample=find_last_sample(opened.read_samples()),
        origin=_keep_plain(manifest["origin"]) if manifest.get("origin") else None,
        files=_measure_files(opened, manifest),
        versions=_keep_plain(manifest.get("versions")),
        is_shipped=opened.is_shipped,
    )


def list_changed(settings: Settings) -> Changes:
    """The settings that differ from the defaults, the texts aside."""
    defaults = flatten(Settings())
    return {
        path: (defaults[path], value)
        for path, value in flatten(settings).items()
        if value != defaults[path] and path not in TEXT_KEYS
    }


def flatten(settings: Settings) -> dict[str, Any]:
    """Every setting by its dotted path.

    >>> flatten(Settings())["model.num_layers"]
    2
    """
    return {
        f"{section}.{key}": value
        for section, values in settings.model_dump().items()
        for key, value in values.items()
    }


def _read_rows(run: Run) -> list[dict[str, float]]:
    """The log; a row that is being written now counts as not there yet."""
    rows = read_history(run)
    if any(not 0 <= row.get("step", 0) <= 2**53 for row in rows):
        raise RunError(f"{run.metrics_path} cannot be read: a step in it is no count")
    return rows


def _keep_plain(entries: Any) -> dict[str, str | int]:
    """The texts and whole numbers of an entry that a manifest may have in any form."""
    items = entries.items() if isinstance(entries, dict) else ()
    return {key: value for key, value in items if isinstance(value, (str, int))}


def _measure_files(run: Run, manifest: Mapping[str, Any]) -> dict[str, int | None]:
    """Bytes of each file on the disk, and of all files of each checkpoint."""
    sizes: dict[str, int | None] = {}
    for name in ("manifest.json", *manifest["files"]):
        sizes[name] = _measure([run.path / name])
    for path in sorted(run.checkpoints_path.glob("step-*"), key=_read_step):
        if path.is_dir():
            sizes[f"{run.checkpoints_path.name}/{path.name}"] = _measure(path.glob("*"))
    return sizes


def _measure(files: Iterable[Path]) -> int | None:
    """Bytes of some files together; None where one is missing, such as one deleted meanwhile."""
    try:
        return sum(file.stat().st_size for file in files)
    except OSError:
        return None


def _read_step(checkpoint: Path) -> tuple[int, str]:
    digits = checkpoint.name.removeprefix("step-")
    return (int(digits) if digits.isdecimal() else 0, digits)
