"""Making a new run directory, in one step: it appears complete, under its final name, or not."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_timecycle.config.dump import NO_COMMENTS
from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import RunError, RunExistsError
from llm_timecycle.files import explain_os_error, write_durably
from llm_timecycle.runs.config_file import record_settings, write_config
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.manifest import write_new_manifest
from llm_timecycle.staging import name_staging, stage_directory


def check_run_is_new(path: Path) -> None:
    """Check, before any work is done, that a new run can be written to `path`.

    Raises:
        RunExistsError: something is there.
        RunError: its directory cannot be written to.
    """
    if path.exists() or path.is_symlink():
        raise RunExistsError(path, is_run=(path / "manifest.json").exists())
    parent = path.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=name_staging(path), dir=parent):
            pass
    except OSError as error:
        raise RunError(f"cannot make a run in {parent}: {explain_os_error(error)}") from error


def create_run(
    path: Path,
    settings: Settings,
    tokenizer_json: bytes,
    vocab_size: int,
    corpora: Mapping[str, Any],
    comments: Mapping[str, str] = NO_COMMENTS,
    learned: Mapping[str, bytes] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Run:
    """Make a run directory in one step: it appears complete, under its final name, or not at all.

    Args:
        path: where; nothing may be there yet.
        settings: as resolved.
        tokenizer_json: the trained tokenizer, as `tokenizers` writes it.
        vocab_size: the tokenizer's vocabulary size (V).
        corpora: what is known of each text (name, sha256, counts), for the manifest.
        comments: comments for `config.yaml`, by dotted path.
        learned: what else was learned from the training text, by file name (`runs.learned`).
        origin: the run whose weights it begins with, for the manifest.

    Raises:
        RunExistsError: something is there already, or came there meanwhile.
        RunError: the disk cannot be written to.
        ConfigError: the settings could not be read again from `config.yaml`.
    """
    check_run_is_new(path)
    config = write_config(path, settings, comments)
    try:
        with stage_directory(path) as staging:
            write_durably(staging / "config.yaml", config)
            write_durably(staging / "tokenizer.json", tokenizer_json)
            for name, content in (learned or {}).items():
                write_durably(staging / name, content)
            (staging / "checkpoints").mkdir()
            facts: dict[str, Any] = {"settings": record_settings(settings)}
            if origin is not None:
                facts["origin"] = dict(origin)
            names = ("config.yaml", "tokenizer.json", *(learned or {}))
            write_new_manifest(staging, vocab_size, corpora, names, facts)
    except OSError as error:
        if path.exists():  # another process was faster
            raise RunExistsError(path, is_run=(path / "manifest.json").exists()) from error
        raise RunError(f"cannot make {path}: {explain_os_error(error)}") from error
    return Run(path, settings, vocab_size)
