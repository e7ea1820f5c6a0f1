"""The run itself, as strangers get it: what generating and scoring need, and nothing private.

Left out are the run's `metrics.csv`, `samples.txt`, `shingles.safetensors` (with which anyone could
ask whether a passage stands in the training text), checkpoints, the plans of a time budget, and the
run's identity. In `config.yaml`, comments, the name of the field of records and the paths of texts
are gone; a text has the name in `TEXT_NAMES`. What is copied from the manifest is named key by key,
so that what another version adds to it stays at home.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from llm_timecycle.config.dump import dump_settings
from llm_timecycle.config.locate import list_shipped_runs
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.text_settings import BUILT_IN_CORPORA
from llm_timecycle.files import write_durably
from llm_timecycle.runs.config_file import NAME as CONFIG
from llm_timecycle.runs.config_file import record_settings
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.learned import SPELLING, load_spelling
from llm_timecycle.runs.manifest import FORMAT_VERSION, describe_file, write_manifest
from llm_timecycle.system import LIBRARIES
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

TOKENIZER, WEIGHTS, MANIFEST = "tokenizer.json", "model.safetensors", "manifest.json"
RUN_FILES = (CONFIG, TOKENIZER, SPELLING, WEIGHTS, MANIFEST)
"""Some runs have no spelling model; all else is always there."""
TEXT_NAMES = {"train": "training-text", "valid": "validation-text", "test": "test-text"}
"""What the texts are called in the published settings, without the suffix."""

_RECORD_SUFFIXES = (".csv", ".tsv", ".jsonl")  # how records are read depends on them
_CORPUS_KEYS = ("sha256", "tokens", "unknown", "words", "characters", "bytes")
_BEST_KEYS = ("step", "valid_loss_nats")
_ORIGIN_KEYS = ("weights_sha256", "best", "vocab_size", "added_tokens")
_VERSIONS = ("llm_timecycle", "python", *LIBRARIES)


def write_run_files(
    run: Run, weights: Mapping[str, np.ndarray], tokenizer: Tokenizer, folder: Path
) -> None:
    """Write a run directory for strangers into an existing folder.

    Args:
        run: the run; it is not changed.
        weights: its weights by name, float32.
        tokenizer: its tokenizer.
        folder: where; the caller makes it appear whole.

    Raises:
        RunError: a file of the run is damaged. OSError: the folder cannot be written to.
    """
    settings = publish_settings(run.settings)
    contents = {
        CONFIG: dump_settings(settings).encode(),
        TOKENIZER: tokenizer.to_json().encode(),
        WEIGHTS: save({name: np.ascontiguousarray(w) for name, w in weights.items()}),
    }
    if (spelling := load_spelling(run)) is not None:
        contents[SPELLING] = spelling.to_json().encode()
    for name, content in contents.items():
        write_durably(folder / name, content)
    files = {name: describe_file(folder / name) for name in RUN_FILES if name in contents}
    manifest = publish_manifest(run.read_manifest())
    write_manifest(folder, {**manifest, "settings": record_settings(settings), "files": files})


def publish_settings(settings: Settings) -> Settings:
    """The settings with nothing of the machine and the texts of the one who trained.

    >>> from llm_timecycle.config.text_settings import DataSettings
    >>> private = Settings(data=DataSettings(train="../private/diary.jsonl", documents="record"))
    >>> publish_settings(private).data.train
    'training-text.jsonl'
    """
    data = settings.data
    changes: dict[str, str | None] = {"field": None}
    for split, name in TEXT_NAMES.items():
        text: str | list[str] | None = getattr(data, split)
        if text is not None and not is_built_in(text):
            suffix = Path(text).suffix if isinstance(text, str) else ""
            changes[split] = name + (suffix if suffix in _RECORD_SUFFIXES else ".txt")
    return settings.model_copy(update={"data": data.model_copy(update=changes)})


def is_built_in(text: str | list[str]) -> bool:
    """Whether `data.train` (or another text of the settings) comes with the program."""
    return text in BUILT_IN_CORPORA


def publish_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's manifest strangers get; `settings` and `files` are for the caller to add."""
    corpora = {
        split: _pick(corpus, _CORPUS_KEYS)
        for split, corpus in manifest["corpora"].items()
        if split in TEXT_NAMES
    }
    published: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "versions": _pick(manifest.get("versions") or {}, _VERSIONS),
        "vocab_size": manifest["vocab_size"],
        "corpora": corpora,
        "replacing": {},
        "best": _pick(manifest.get("best") or {}, _BEST_KEYS) or None,
    }
    if origin := manifest.get("origin"):
        published["origin"] = _pick(origin, _ORIGIN_KEYS)
        if origin.get("run") in list_shipped_runs():
            published["origin"]["run"] = origin["run"]
    return published


def _pick(entries: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: entries[key] for key in keys if key in entries}
