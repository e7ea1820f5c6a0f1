"""Resuming a run: what may have changed since it began, and what may not."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

from llm_timecycle.config.load import LoadedSettings
from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import ConfigError, DataError, RunError
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.text_paths import find_texts
from llm_timecycle.text.prepare import PreparedText, prepare_text
from llm_timecycle.training.checkpoints import list_checkpoints
from llm_timecycle.training.workers.sharing import Briefing

# Settings that a resumed run may change: how long it trains, what it writes, and how its steps are
# computed, which changes rounding only; but dropout draws for each shard, and threads decide those.
FREE_WHEN_RESUMING = {
    "training.epochs",
    "training.max_steps",
    "training.minutes",
    "training.patience",
    "training.log_every",
    "training.checkpoint_every",
    "training.keep_checkpoints",
    "training.threads",
    "training.accumulate",
}


def merge_settings(run: Run, loaded: LoadedSettings) -> Settings:
    """The settings to resume with; ConfigError if they would make it a different run."""
    training, before = loaded.settings.training, run.settings.training
    if training.precision == "auto":
        training = training.model_copy(update={"precision": before.precision})
    open_keys = [k for k in ("threads", "learning_rate") if getattr(training, k) is None]
    training = training.model_copy(update={key: getattr(before, key) for key in open_keys})
    settings = loaded.settings.model_copy(update={"training": training})
    changed = list_differences(run.settings, settings)
    if fixed := sorted(changed.keys() - FREE_WHEN_RESUMING):
        lines = [
            f"  {key}: {changed[key][0]!r} in the run, {changed[key][1]!r} now" for key in fixed
        ]
        raise ConfigError(
            "these settings cannot change when a run is resumed:\n"
            + "\n".join(lines)
            + f"\nChange them back, or train a new run in another directory. "
            f"To resume with the run's settings: llm-timecycle train {quote(str(run.path))} "
            f"--resume"
        )
    return settings


def find_moved_texts(run: Run, settings: Settings) -> Settings:
    """The settings with the texts where they are now."""
    command = f"llm-timecycle train {quote(str(run.path))} --resume"
    data = find_texts(settings.data, run.path, command)
    return settings.model_copy(update={"data": data})


def prepare_same_text(
    run: Run, settings: Settings, base: Path, cache: Path, show_progress: bool
) -> PreparedText:
    """The run's texts, which must not have changed since the run began."""
    manifest = run.read_manifest()
    run.check_files()
    if manifest.get("origin") and not list_checkpoints(run.checkpoints_path):
        raise RunError(
            f"{run.path} was stopped before its first checkpoint, and the weights that it began "
            f"with are lost. Delete it, and train it again"
        )
    text = prepare_text(
        settings, base, cache, show_progress, tokenizer=run.load_tokenizer(), is_trained=True
    )
    before, now = manifest["corpora"], describe_text(text)
    for split in ("train", "valid", "test"):
        if before.get(split, {}).get("sha256") != now.get(split, {}).get("sha256"):
            raise DataError(
                f"the {split} text has changed since {run.path} began. Restore it, or train a new "
                f"run in another directory"
            )
    return text


def prepare_followed_text(
    settings: Settings, base: Path, run: Path, cache: Path, briefing: Briefing
) -> PreparedText:
    """This worker's copy of the texts that the chief trains on.

    Args:
        settings: those of the chief, with this worker's paths of the texts.
        base: the directory that relative paths start from.
        run: where the run is, if this worker sees it.

    Raises:
        DataError: a text is missing, or is another one than the chief's.
    """
    if run.is_dir():
        settings = find_moved_texts(Run(run, settings, briefing.tokenizer.vocab_size), settings)
    tokenizer = briefing.tokenizer
    text = prepare_text(settings, base, cache, False, tokenizer=tokenizer, is_trained=True)
    now = describe_text(text)
    for split in ("train", "valid", "test"):
        if briefing.corpora.get(split, {}).get("sha256") != now.get(split, {}).get("sha256"):
            raise DataError(
                f"the {split} text differs from that of the chief: put the same text on every "
                f"machine, and give every worker the same data settings"
            )
    return text


def list_differences(a: Settings, b: Settings) -> dict[str, tuple[Any, Any]]:
    """The settings that differ, by dotted path.

    `generation` does not affect training, and the texts are compared by their hashes.
    """
    sections = ("tokenizer", "model", "training")
    return {
        f"{section}.{key}": (value, getattr(getattr(b, section), key))
        for section in sections
        for key, value in getattr(a, section)
        if value != getattr(getattr(b, section), key)
    }


def describe_text(text: PreparedText) -> dict[str, Any]:
    """What the manifest stores about each text."""
    streams = {"train": text.train, "valid": text.valid, "test": text.test}
    described: dict[str, Any] = {
        name: {
            "sha256": stream.corpus_sha256,
            "tokens": stream.tokens,
            "unknown": stream.unknown,
            "words": stream.words,
            "characters": stream.characters,
            "bytes": stream.bytes,
        }
        for name, stream in streams.items()
        if stream is not None
    }
    if (sample := text.sample) is not None:
        described["train"]["vocabulary_sample"] = {
            "sha256": sample.sha256(),
            "characters": sample.count_characters(),
            "rule": sample.rule,
        }
    return described
