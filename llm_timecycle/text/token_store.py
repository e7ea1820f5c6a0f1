"""The token store: ids on the disk, as one memory-mapped array and a manifest.

    <cache>/tokens/<key>/ids.bin  manifest.json

The key is a hash of all that the ids depend on, so a store that is found is the right one. It is
written under a temporary name, flushed to the disk and renamed, so a store that is found is
whole; of two processes that make the same one, the second to finish drops its own. The stores
that were used last are kept and the others deleted; who still reads a deleted one can go on.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_timecycle.files import flush_directory, write_durably
from llm_timecycle.text.token_store_write import Counts

FORMAT_VERSION = 1
STALE_AFTER_S = 24 * 3600.0


@dataclass(frozen=True)
class TokenStream:
    """A corpus as ids, and its size in every unit (`text.token_store_write.Counts` defines them)."""

    ids: np.ndarray
    """The ids (N,), memory-mapped, in the narrowest unsigned type."""
    tokens: int
    """How many there are (N), each document's `<eos>` included."""
    words: int
    """What stands between white space, in the text as it is read."""
    characters: int
    """Characters of the text as it is read."""
    bytes: int
    """Bytes of the UTF-8 form of the text as it is read."""
    unknown: int
    """Ids that are `<unk>`."""
    corpus_sha256: str
    """The hash of the corpus."""


def open_store(path: Path) -> TokenStream | None:
    """The store at `path`, marked as used now; None where there is none that is sound."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        dtype = np.dtype(manifest["dtype"])
        counts = Counts(**manifest["counts"])
        if manifest["format_version"] != FORMAT_VERSION:
            return None
        if (path / "ids.bin").stat().st_size != counts.tokens * dtype.itemsize:
            return None
        ids = np.zeros(0, dtype)
        if counts.tokens > 0:
            ids = np.memmap(path / "ids.bin", dtype, mode="r", shape=(counts.tokens,))
        os.utime(path)
        return TokenStream(ids, **asdict(counts), corpus_sha256=manifest["corpus_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def build_store(
    path: Path,
    pieces: Iterable[tuple[np.ndarray, Counts]],
    dtype: np.dtype[Any],
    facts: dict[str, str],
) -> None:
    """Write a store whole or not at all; OSError where the disk refuses.

    Args:
        path: where; a sound store that is there already stays, and ours is dropped.
        pieces: the ids (N,) of each piece of the text, of type `dtype`, and its counts.
        facts: for the manifest: `corpus_sha256`, and what else is worth knowing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".building-", dir=path.parent))
    try:
        total = Counts()
        with (staging / "ids.bin").open("wb") as file:
            for ids, counts in pieces:
                file.write(ids.data)
                total += counts
            file.flush()
            os.fsync(file.fileno())
        manifest = {
            "format_version": FORMAT_VERSION,
            **facts,
            "dtype": dtype.name,
            "counts": asdict(total),
            "size_bytes": total.tokens * dtype.itemsize,
        }
        write_durably(staging / "manifest.json", json.dumps(manifest, indent=2).encode())
        if open_store(path) is None:
            shutil.rmtree(path, ignore_errors=True)  # damaged, if it is there at all
        try:
            staging.rename(path)
        except OSError:
            if open_store(path) is None:
                raise
        flush_directory(path.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def keep_newest(directory: Path, kept: int) -> None:
    """Delete all but the `kept` entries of a cache directory that were used last.

    Hidden entries are work in progress: they go once they are a day old, and count for nothing.
    """
    now_s = time.time()
    ages = []
    for entry in directory.iterdir():
        try:
            age_s = now_s - entry.stat().st_mtime
        except FileNotFoundError:  # another process tidies up too
            continue
        if not entry.name.startswith("."):
            ages.append((age_s, entry))
        elif age_s > STALE_AFTER_S:
            _delete(entry)
    for _, entry in sorted(ages)[kept:]:
        _delete(entry)


def _delete(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
