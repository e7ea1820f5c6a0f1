"""`manifest.json`: size and SHA-256 of every other file of a run, true at every moment.

Some files change while a run is trained. `GROWING_FILES` only grow, so the manifest describes their
first bytes. `model.safetensors` is replaced, so for that moment the manifest names the old and the
new content, and a process killed between any two of its writes leaves a directory that still
matches its manifest. `config.yaml` may be edited; what must not change in it is in the entry
`settings`, see `runs.config_file`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from llm_timecycle.errors import RunError
from llm_timecycle.files import compute_sha256, explain_os_error, write_durably
from llm_timecycle.system import read_versions

FORMAT_VERSION = 1
MANIFEST_BYTES_AT_MOST = 1 << 20
GROWING_FILES = ("metrics.csv", "samples.txt")
RESTORE = "Restore it from a copy, or train again"

_ENTRY_TYPES = {"files": dict, "corpora": dict, "replacing": dict, "vocab_size": int}


def write_new_manifest(
    directory: Path,
    vocab_size: int,
    corpora: Mapping[str, Any],
    names: tuple[str, ...],
    facts: Mapping[str, Any],
) -> None:
    """The manifest of a run that has no weights yet.

    Args:
        directory: the run; the files `names` are in it already.
        vocab_size: the tokenizer's vocabulary size (V).
        corpora: what is known of each text (name, sha256, counts).
        names: the files to describe.
        facts: other entries.
    """
    write_manifest(
        directory,
        {
            "format_version": FORMAT_VERSION,
            "versions": read_versions(),
            "vocab_size": vocab_size,
            "corpora": dict(corpora),
            "files": {name: describe_file(directory / name) for name in names},
            "replacing": {},
            "best": None,
            **facts,
        },
    )


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Replace `manifest.json`, whole or not at all."""
    content = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    write_durably(directory / "manifest.json", content.encode())


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest as it is on the disk now.

    Raises:
        RunError: it is missing, too large, damaged, or of a newer format.
    """
    file = directory / "manifest.json"
    try:
        if file.stat().st_size > MANIFEST_BYTES_AT_MOST:
            raise RunError(f"{file} is too large to be a manifest")
        manifest: dict[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        inside = sorted(str(found.parent) for found in directory.glob("*/manifest.json"))
        hint = (
            f"Did you mean one of the runs in it: {', '.join(inside[:5])}?"
            if inside
            else "Give the directory that llm-timecycle train made"
        )
        raise RunError(
            f"{directory} is not a complete run: it has no manifest.json. {hint}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if not isinstance(version, int):
        raise RunError(f"{file} is not a manifest of llm-timecycle: it has no format version")
    if version > FORMAT_VERSION:
        raise RunError(
            f"{directory} was made by a newer llm-timecycle (format {version}, this one reads up "
            f"to {FORMAT_VERSION}): upgrade with pip install --upgrade llm-timecycle"
        )
    for key, expected in _ENTRY_TYPES.items():
        if not isinstance(manifest.get(key), expected):
            raise RunError(f"{file} is damaged: its entry {key} is missing or of the wrong type")
    return manifest


def check_file(directory: Path, manifest: Mapping[str, Any], name: str) -> None:
    """Check that a file is (or, for one that grows, begins with) what the manifest says.

    Raises:
        RunError: it is missing or differs.
    """
    entries = [manifest["files"].get(name), manifest.get("replacing", {}).get(name)]
    accepted = [entry for entry in entries if isinstance(entry, dict)]
    file = directory / name
    if not accepted:
        raise RunError(f"the manifest of {directory} does not list {name}")
    try:
        if any(_fits(file, entry) for entry in accepted):
            return
    except OSError as error:
        raise RunError(
            f"{directory} is incomplete: {name} cannot be read ({error.strerror})"
        ) from error
    except (KeyError, TypeError) as error:
        raise RunError(f"the manifest of {directory} is damaged in its entry for {name}") from error
    raise RunError(
        f"{file} is not what the manifest says: it was changed or damaged after it was written. "
        f"{RESTORE}"
    )


def _fits(file: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a file is (or, for one that grows, begins with) what its entry says."""
    size = file.stat().st_size
    is_whole = size == entry["bytes"] or (file.name in GROWING_FILES and size > entry["bytes"])
    return is_whole and compute_sha256(file, entry["bytes"]) == entry["sha256"]


def replace_file(directory: Path, name: str, content: bytes, facts: Mapping[str, Any]) -> None:
    """Replace a file and its entry; wherever this is cut short, the manifest stays true.

    Args:
        directory: the run.
        name: the file in it.
        content: its new bytes.
        facts: other entries of the manifest to set with it.

    Raises:
        RunError: the disk is full or cannot be written to; the old file is still there.
    """
    staged = directory / f".{name}.new"
    try:
        sha256 = write_durably(staged, content)
        manifest = _finish_replacing(directory, read_manifest(directory))
        new_entry = {"bytes": staged.stat().st_size, "sha256": sha256}
        coming = {name: {**new_entry, "facts": dict(facts)}}
        write_manifest(directory, {**manifest, "replacing": coming})
        staged.replace(directory / name)
        manifest["files"][name] = new_entry
        write_manifest(directory, {**manifest, "replacing": {}, **facts})
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise RunError(
            f"cannot write {directory / name}: {explain_os_error(error)}. "
            f"The previous file is still there"
        ) from error


def _finish_replacing(directory: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest after a replacement that a kill cut short, if the new file was in place."""
    for name, entry in manifest["replacing"].items():
        if _fits(directory / name, entry):
            manifest["files"][name] = {key: entry[key] for key in ("bytes", "sha256")}
            manifest |= entry.get("facts", {})
    return {**manifest, "replacing": {}}


def record_files(directory: Path, names: Sequence[str]) -> None:
    """Describe files in the manifest as they are on the disk now.

    Raises:
        RunError: as of `record_facts`.
    """
    _change_manifest(
        directory,
        lambda manifest: {
            "files": manifest["files"] | {name: describe_file(directory / name) for name in names}
        },
    )


def record_facts(directory: Path, facts: Mapping[str, Any]) -> None:
    """Set entries of the manifest that describe no file.

    Raises:
        RunError: the disk is full or cannot be written to.
    """
    _change_manifest(directory, lambda _: facts)


def _change_manifest(
    directory: Path, make_entries: Callable[[dict[str, Any]], Mapping[str, Any]]
) -> None:
    """Set the entries of the manifest that are made from those it has."""
    try:
        manifest = read_manifest(directory)
        write_manifest(directory, {**manifest, **make_entries(manifest)})
    except OSError as error:
        raise explain_unwritten(directory, directory / "manifest.json", error) from error


def explain_unwritten(run: Path, file: Path, error: OSError) -> RunError:
    """The error of a training that cannot write a file of its run.

    What its newest checkpoint needs was flushed to the disk before.
    """
    return RunError(
        f"cannot write {file}: {explain_os_error(error)}. What was saved before is still there. "
        f"Then resume with: llm-timecycle train {quote(str(run))} --resume"
    )


def describe_file(path: Path) -> dict[str, Any]:
    """A file's entry: its size and its SHA-256."""
    return {"bytes": path.stat().st_size, "sha256": compute_sha256(path)}
