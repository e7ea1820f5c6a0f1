"""Checkpoints: `checkpoints/step-N/`, each with everything that is needed to resume.

    tensors.safetensors   weights, optimizer, LSTM state, random state
    state.json            progress; size and SHA-256 of the tensors

A checkpoint is written under a temporary name, flushed to disk and renamed: a process killed at any
moment leaves it complete or absent. Plain NumPy in and out, without TensorFlow.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import numpy as np
from safetensors.numpy import save

from llm_timecycle.errors import RunError
from llm_timecycle.files import (
    compute_sha256,
    explain_os_error,
    flush_directory,
    write_durably,
)
from llm_timecycle.runs.tensors import read_tensors
from llm_timecycle.training.progress import Progress

FORMAT_VERSION = 1
MAX_STATE_BYTES = 1 << 20
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint: progress, and arrays by name."""

    progress: Progress
    tensors: dict[str, np.ndarray]


def write_checkpoint(directory: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint into `directory`, then delete all but the newest `keep`.

    Raises:
        RunError: the disk is full or cannot be written to; older checkpoints stay.
    """
    final = directory / f"step-{checkpoint.progress.step}"
    temporary = directory / f".{final.name}.tmp"
    _remove_unfinished(directory)
    try:
        temporary.mkdir()
        tensors = {name: np.asarray(a, order="C") for name, a in checkpoint.tensors.items()}
        file = temporary / "tensors.safetensors"
        sha256 = write_durably(file, save(tensors))
        state = {
            "format_version": FORMAT_VERSION,
            "progress": checkpoint.progress.to_dict(),
            "bytes": file.stat().st_size,
            "sha256": sha256,
        }
        write_durably(temporary / "state.json", json.dumps(state, indent=2).encode())
        if final.exists():  # the same step, written before a kill: the same content
            shutil.rmtree(final)
        temporary.rename(final)
        flush_directory(directory)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        kept = list_checkpoints(directory)
        where = f"the last good checkpoint is {kept[-1]}" if kept else "there is no earlier one"
        raise RunError(
            f"cannot write the checkpoint {final}: {explain_os_error(error)}; {where}. "
            f"Then resume with: llm-timecycle train {quote(str(directory.parent))} --resume"
        ) from error
    for old in list_checkpoints(directory)[:-keep]:
        _remove(old)
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
    directory: Path, shapes: Mapping[str, tuple[int, ...]]
) -> Checkpoint | None:
    """The newest checkpoint, or None if there is none.

    Args:
        shapes: the name and shape of every tensor that it must hold, no more and no fewer.

    Raises:
        RunError: it is damaged, or belongs to a different model (checked before reading tensors).
    """
    found = list_checkpoints(directory)
    return read_checkpoint(found[-1], shapes) if found else None


def read_checkpoint(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Checkpoint:
    """The checkpoint at `path`; see `read_newest_checkpoint`."""
    advice = f"Delete {path} to resume from the checkpoint before it"
    try:
        if (path / "state.json").stat().st_size > MAX_STATE_BYTES:
            raise RunError(f"{path / 'state.json'} is too large. {advice}")
        state = json.loads((path / "state.json").read_bytes())
        if not isinstance(state, dict) or state.get("format_version") != FORMAT_VERSION:
            raise RunError(f"{path} is not a checkpoint of this version. {advice}")
        progress = Progress.from_dict(state.get("progress"))
        file = path / "tensors.safetensors"
        if file.stat().st_size != state.get("bytes") or compute_sha256(file) != state.get("sha256"):
            raise RunError(f"the checkpoint {path} is damaged. {advice}")
        return Checkpoint(progress, read_tensors(file, shapes, advice=advice))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"the checkpoint {path} cannot be read: {error}. {advice}") from error


def _remove(path: Path) -> None:
    """Delete a checkpoint, renaming it first: under its name it is never half deleted."""
    doomed = path.with_name(f".{path.name}.tmp")
    path.rename(doomed)
    shutil.rmtree(doomed)


def _remove_unfinished(directory: Path) -> None:
    for leftover in directory.glob(".step-*.tmp"):
        shutil.rmtree(leftover)
