"""Checkpoints: `checkpoints/step-N/`, each with everything that is needed to resume.

    tensors.safetensors   weights, optimizer, LSTM state, random state
    state.json            whose run it is; progress; size and SHA-256 of the tensors; covers itself

A checkpoint is written under a temporary name, flushed to disk and renamed: a process killed at any
moment leaves it complete or absent. Plain NumPy in and out, without TensorFlow.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel
from safetensors.numpy import save

from llm_timecycle.errors import RunError
from llm_timecycle.files import (
    explain_os_error,
    flush_directory,
    read_or_map,
    read_regular,
    remove,
    write_durably,
)
from llm_timecycle.runs.entries import STRICT, Sha256, StoredFile, check_model
from llm_timecycle.runs.manifest import fits
from llm_timecycle.runs.tensors import bound_file_size, read_tensors
from llm_timecycle.sealed_json import read_sealed, write_sealed
from llm_timecycle.training.progress import Progress

FORMAT_VERSION = 2
TENSORS, STATE_BYTES_AT_MOST = "tensors.safetensors", 1 << 20
_NAME = re.compile(r"step-(\d+)")

log = logging.getLogger("llm_timecycle")


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint: progress, arrays by name, and the run that it belongs to."""

    progress: Progress
    tensors: dict[str, np.ndarray]
    identity: str | None = None
    """That of `Run.read_identity`."""


def write_checkpoint(directory: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint into `directory`, then delete all but the newest `keep`.

    One that cannot be deleted stays, and is named in the log.

    Raises:
        RunError: the disk is full or cannot be written to; older checkpoints stay.
    """
    final = directory / f"step-{checkpoint.progress.step}"
    temporary = directory / f".{final.name}.tmp"
    try:
        remove(temporary)
        temporary.mkdir()
        tensors = {name: np.asarray(a, order="C") for name, a in checkpoint.tensors.items()}
        file = temporary / TENSORS
        sha256 = write_durably(file, save(tensors))
        stored = {"bytes": file.stat().st_size, "sha256": sha256}
        state = {
            "format_version": FORMAT_VERSION,
            "identity": checkpoint.identity,
            "progress": checkpoint.progress.to_dict(),
            "tensors": stored,
        }
        write_durably(temporary / "state.json", write_sealed(state))
        if _holds(final, stored):  # of the same step, before its validation
            (temporary / "state.json").replace(final / "state.json")
            flush_directory(final)
            remove(temporary)
        else:
            remove(final)
            temporary.rename(final)
            flush_directory(directory)
    except OSError as error:
        with suppress(OSError):
            remove(temporary)
        kept = list_checkpoints(directory)
        where = f"the last good checkpoint is {kept[-1]}" if kept else "there is no earlier one"
        raise RunError(
            f"cannot write the checkpoint {final}: {explain_os_error(error)}; {where}. "
            f"Then resume with: llm-timecycle train {quote(str(directory.parent))} --resume"
        ) from error
    for old in list_checkpoints(directory)[:-keep]:
        try:
            _remove(old)
        except OSError as error:
            log.warning("%s is no longer needed and cannot be deleted: %s", old, error.strerror)
    return final


def list_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints of a run, oldest first; RunError if their directory is missing."""
    if not directory.is_dir():
        raise RunError(f"{directory.parent} is incomplete: its directory checkpoints is missing")
    found = [
        (int(match[1]), path)
        for path in directory.iterdir()
        if (match := _NAME.fullmatch(path.name)) and path.is_dir()
    ]
    return [path for _, path in sorted(found)]


def read_newest_checkpoint(
    directory: Path, shapes: Mapping[str, tuple[int, ...]], identity: str | None = None
) -> Checkpoint | None:
    """The newest checkpoint, or None if there is none.

    Args:
        shapes: the name and shape of every tensor that it must hold, no more and no fewer.
        identity: that of the run.

    Raises:
        RunError: it is damaged, or belongs to a different model or run (checked before reading
            tensors).
    """
    found = list_checkpoints(directory)
    return read_checkpoint(found[-1], shapes, identity) if found else None


def read_checkpoint(
    path: Path, shapes: Mapping[str, tuple[int, ...]], identity: str | None = None
) -> Checkpoint:
    """The checkpoint at `path`; see `read_newest_checkpoint`."""
    advice = f"Delete {path} to resume from the checkpoint before it"
    file = path / TENSORS
    try:
        state = read_sealed(read_regular(path / "state.json", STATE_BYTES_AT_MOST))
        check_model(_State, state)
        if state.get("identity") != identity:
            raise ValueError("it belongs to another run")
        progress = Progress.from_dict(state["progress"])
        if path.name != f"step-{progress.step}":
            raise ValueError(f"it is of step {progress.step:,}")
        content = read_or_map(file, bound_file_size(shapes))
        if not fits(content, state["tensors"]):
            raise ValueError(f"{file} was changed or damaged after it was written")
    except (OSError, ValueError) as error:
        raise RunError(f"the checkpoint {path} cannot be read: {error}. {advice}") from error
    tensors = read_tensors(content, shapes, name=str(file), advice=advice)
    return Checkpoint(progress, tensors, identity)


class _State(BaseModel):
    model_config = STRICT
    format_version: Literal[2]
    identity: Sha256 | None = None
    progress: dict[str, Any]
    tensors: StoredFile


def _holds(path: Path, tensors: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is there, and its tensors are those of an entry."""
    file = path / TENSORS
    return file.is_file() and fits(read_or_map(file), tensors)


def _remove(path: Path) -> None:
    """Delete a checkpoint, renaming it first: under its name it is never half deleted."""
    doomed = path.with_name(f".{path.name}.tmp")
    path.rename(doomed)
    remove(doomed)
