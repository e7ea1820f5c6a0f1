"""`manifest.json`: size and SHA-256 of every other file of a run, true at every moment.

Some files change while a run is trained. `GROWING_FILES` only grow, so the manifest describes their
first bytes. `model.safetensors` is replaced, so for that moment the manifest names the old and the
new content, and a process killed between any two of its writes leaves a directory that still
matches its manifest. `config.yaml` may be edited; what must not change in it is in the entry
`settings`, see `runs.config_file`. The manifest covers itself with its entry `sha256`.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any

from llm_timecycle.errors import RunError
from llm_timecycle.files import (
    explain_os_error,
    flush_directory,
    read_or_map,
    read_regular,
    write_durably,
)
from llm_timecycle.parsing import parse_json
from llm_timecycle.runs.entries import check_entries
from llm_timecycle.sealed_json import KEY, compute_hash, read_sealed, write_sealed
from llm_timecycle.system import read_versions

FORMAT_VERSION = 2
"""Since 2, a manifest covers itself."""
MANIFEST_BYTES_AT_MOST = 1 << 20
WHOLE_BYTES_AT_MOST = 256 << 20
"""Of a file that is copied into memory; weights are larger, and mapped."""
GROWING_FILES = ("metrics.csv", "samples.txt")
RESTORE = "Restore it from a copy, or train again"
ATTEMPTS = 5
"""To read a file and the manifest in the same state while another process trains the run."""


def write_new_manifest(
    directory: Path,
    vocab_size: int,
    corpora: Mapping[str, Any],
    names: tuple[str, ...],
    facts: Mapping[str, Any],
) -> None:
    """The manifest of a run that has no weights yet.

    Its entry `identity` tells runs apart that differ in settings, texts or tokenizer.

    Args:
        directory: the run; the files `names` are in it already.
        vocab_size: the tokenizer's vocabulary size (V).
        corpora: what is known of each text (name, sha256, counts).
        names: the files to describe.
        facts: other entries.
    """
    files = {name: describe_file(directory / name) for name in names}
    origin = {"corpora": dict(corpora), "files": files, **facts}
    write_manifest(
        directory,
        {
            "format_version": FORMAT_VERSION,
            "versions": read_versions(),
            "identity": compute_hash(origin),
            "vocab_size": vocab_size,
            "replacing": {},
            "best": None,
            **origin,
        },
    )


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Replace `manifest.json`, whole or not at all."""
    write_durably(directory / "manifest.json", write_sealed(manifest))


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest as it is on the disk now.

    Raises:
        RunError: it is missing, too large, damaged, or of a newer format.
    """
    file = directory / "manifest.json"
    try:
        content = read_regular(file, MANIFEST_BYTES_AT_MOST)
        manifest = parse_json(content)
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
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}. {RESTORE}") from error
    except ValueError as error:
        raise RunError(f"{file} cannot be read: {error}. {RESTORE}") from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if type(version) is not int:
        raise RunError(f"{file} is not a manifest of llm-timecycle: it has no format version")
    if version > FORMAT_VERSION:
        raise RunError(
            f"{directory} was made by a newer llm-timecycle (format {version}, this one reads up "
            f"to {FORMAT_VERSION}): upgrade with pip install --upgrade llm-timecycle"
        )
    try:
        if version > 1 or KEY in manifest:
            manifest = read_sealed(content)
        check_entries(manifest)
    except ValueError as error:
        raise RunError(f"{file} is damaged: {error}. {RESTORE}") from error
    return {**manifest, "format_version": FORMAT_VERSION}


def read_whole(directory: Path, name: str) -> bytes:
    """The content of a file as `read_file` gives it; RunError if it is too large to be copied."""
    return bytes(read_file(directory, name, WHOLE_BYTES_AT_MOST))


def read_file(directory: Path, name: str, most_bytes: int | None = None) -> bytes | mmap.mmap:
    """The content of a file, which is (or, for one that grows, begins with) what the manifest says.

    What is compared are the bytes that are returned. A process that trains the run may replace the
    file between two looks at it and the manifest, so a difference counts only if it stays.

    Args:
        directory: the run.
        name: the file in it.
        most_bytes: the limit, checked before the file is read; None takes any size.

    Raises:
        RunError: it is missing, is not a regular file, is too large, or differs.
    """
    for _ in range(ATTEMPTS):
        entries = _list_entries(directory, name)
        try:
            content = read_or_map(directory / name, most_bytes)
        except OSError as error:
            raise RunError(
                f"{directory} is incomplete: {name} cannot be read ({error.strerror or error}). "
                f"{RESTORE}"
            ) from error
        entries += _list_entries(directory, name)
        if any(fits(content, entry, grows=name in GROWING_FILES) for entry in entries):
            return content
    raise RunError(
        f"{directory / name} is not what the manifest says: it was changed or damaged after it was "
        f"written. {RESTORE}"
    )


def _list_entries(directory: Path, name: str) -> list[Mapping[str, Any]]:
    """What the manifest accepts as a file now; RunError if it does not list it."""
    manifest = read_manifest(directory)
    entries = [manifest[key][name] for key in ("files", "replacing") if name in manifest[key]]
    if not entries:
        raise RunError(f"the manifest of {directory} does not list {name}. {RESTORE}")
    return entries


def fits(content: bytes | mmap.mmap, entry: Mapping[str, Any], *, grows: bool = False) -> bool:
    """Whether content is (or, of a file that grows, begins with) what an entry says."""
    size = len(content)
    is_whole = size == entry["bytes"] or (grows and size > entry["bytes"])
    return is_whole and _hash(content, entry["bytes"]) == entry["sha256"]


def _hash(content: bytes | mmap.mmap, size: int) -> str:
    with memoryview(content) as view:
        return hashlib.sha256(view[:size]).hexdigest()


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
        flush_directory(directory)
        manifest["files"][name] = new_entry
        write_manifest(directory, {**manifest, "replacing": {}, **facts})
    except OSError as error:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
        raise RunError(
            f"cannot write {directory / name}: {explain_os_error(error)}. "
            f"The previous file is still there"
        ) from error


def _finish_replacing(directory: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest after a replacement that a kill cut short, if the new file was in place."""
    for name, entry in manifest["replacing"].items():
        file = directory / name
        if file.exists() and fits(read_or_map(file), entry):
            manifest["files"][name] = {key: entry[key] for key in ("bytes", "sha256")}
            manifest |= entry.get("facts", {})
    return {**manifest, "replacing": {}}


def record_files(directory: Path, lengths: Mapping[str, int | None]) -> None:
    """Describe files in the manifest as they are on the disk now.

    Args:
        directory: the run.
        lengths: how many bytes of each file, by name, to describe; None describes all.

    Raises:
        RunError: as of `record_facts`.
    """
    _change_manifest(
        directory,
        lambda manifest: {
            "files": manifest["files"]
            | {name: describe_file(directory / name, most) for name, most in lengths.items()}
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
        f"cannot write {file}: {explain_os_error(error)}. Everything up to the last checkpoint is "
        f"saved; then resume, with the same settings: "
        f"llm-timecycle train {quote(str(run))} --resume"
    )


def describe_file(path: Path, most_bytes: int | None = None) -> dict[str, Any]:
    """A file's entry: its size and its SHA-256, or those of its first `most_bytes`."""
    content = read_or_map(path)
    size = len(content) if most_bytes is None else min(len(content), most_bytes)
    return {"bytes": size, "sha256": _hash(content, size)}
