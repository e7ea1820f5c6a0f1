"""Hashes computed anew, so that what lies behind them is reached."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_timecycle.sealed_json import KEY

HASHED_BYTES_AT_MOST = 100 << 20


def seal(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the hash that `sealed_json` would give them, also where it would refuse."""
    kept = {key: value for key, value in values.items() if key != KEY}
    written = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return {**kept, KEY: hashlib.sha256(written.encode()).hexdigest()}


def describe(path: Path) -> dict[str, Any] | None:
    """Size and hash of a regular file that is not too large; else None."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_size > HASHED_BYTES_AT_MOST:
        return None
    if not status.st_mode & 0o400:
        return None
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def read_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is none."""
    if describe(path) is None:
        return None
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def seal_run(run: Path) -> None:
    """Make the hashes in a run's manifest and checkpoints those of the files that are there."""
    for state_path in sorted(run.glob("checkpoints/step-*/state.json")):
        state = read_object(state_path)
        entry = describe(state_path.parent / "tensors.safetensors")
        if state is not None:
            if entry is not None and isinstance(state.get("tensors"), dict):
                state["tensors"] |= entry
            write_sealed(state_path, state)
    manifest = read_object(run / "manifest.json")
    if manifest is None:
        return
    for part in ("files", "replacing"):
        entries = manifest.get(part)
        for name in list(entries) if isinstance(entries, dict) else []:
            is_name = "/" not in name and "\0" not in name and len(name) < 200
            entry = describe(run / name) if is_name else None
            if entry is not None and isinstance(entries[name], dict):
                entries[name] |= entry
    write_sealed(run / "manifest.json", manifest)


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Write an object with the hash that fits it."""
    path.write_text(json.dumps(seal(values), indent=2))
