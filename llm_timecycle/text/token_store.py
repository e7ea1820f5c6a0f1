"""The token store: a corpus encoded once, its ids on disk as a memory-mapped array with a manifest.

    <cache>/tokens/<key>/ids.bin  documents.bin  shingles.safetensors  manifest.json

`ids.bin` is an `<eos>` and the ids, of the type that the manifest names; `documents.bin` the index
of the first id after each `<eos>` that is the end of a document or the first one, int64. A stream
of several documents begins with that first `<eos>`, so that its first document is read like all
others; a stream of one document, such as a novel, begins with its own first id.

The key is a hash of everything the ids depend on, so a store that is found is the right one. It is
written under a temporary name, flushed to disk and renamed, so it is always complete; if two
processes write the same store, the second to finish discards its copy. Only the most recently used
stores are kept; a process that is reading a deleted one can continue.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llm_timecycle.files import flush_directory, write_durably
from llm_timecycle.text.batches import ONE_DOCUMENT
from llm_timecycle.text.shingles import EMPTY_SKETCH, Sketch, SketchBuilder
from llm_timecycle.text.tokenizer.pipelines import END_ID

FORMAT_VERSION = 2
STALE_AFTER_S = 24 * 3600.0


@dataclass(frozen=True)
class Counts:
    """How large a text is, in every unit.

    Characters, bytes and words are counted in the text as it is read, before any lower-casing:
    all characters (line breaks too), the bytes of their UTF-8 form, and the words between white
    space. So losses can be given per character, byte or word, whatever the tokens are.
    """

    tokens: int = 0
    """Ids, each document's `<eos>` included."""
    words: int = 0
    """Words."""
    characters: int = 0
    """Characters."""
    bytes: int = 0
    """Bytes."""
    unknown: int = 0
    """Ids that are `<unk>`."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.tokens + other.tokens,
            self.words + other.words,
            self.characters + other.characters,
            self.bytes + other.bytes,
            self.unknown + other.unknown,
        )


@dataclass(frozen=True)
class TokenStream:
    """A corpus as ids, and its size in every unit (see `Counts`)."""

    ids: np.ndarray
    """The ids (N,), memory-mapped, in the narrowest unsigned type."""
    tokens: int
    """How many there are (N): each document's `<eos>` included, and one before the first document
    if there are several."""
    words: int
    """Words between white space, in the text as it is read."""
    characters: int
    """Characters of the text as it is read."""
    bytes: int
    """Bytes of the UTF-8 form of the text as it is read."""
    unknown: int
    """Ids that are `<unk>`."""
    corpus_sha256: str
    """The hash of the corpus."""
    document_starts: np.ndarray = field(default_factory=lambda: ONE_DOCUMENT)
    """Positions of the first token of each document (D,), int64, sorted, each after an `<eos>`;
    none if there is only one document."""
    shingles: Sketch | None = None
    """A sample of the runs of text in it, to find what two texts have in common."""


class Piece(NamedTuple):
    """A chunk of text as ids."""

    ids: np.ndarray
    """The ids (N,)."""
    counts: Counts
    """The size of the chunk."""
    ends: np.ndarray
    """Positions in `ids` at which documents have ended: each is after an `<eos>` (D,), int64."""
    shingles: Sketch = EMPTY_SKETCH
    """A sample of the runs of text in it."""


def open_store(path: Path) -> TokenStream | None:
    """The store at `path`, marked as just used; None if it is missing or damaged."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        dtype = np.dtype(manifest["dtype"])
        counts = Counts(**manifest["counts"])
        if manifest["format_version"] != FORMAT_VERSION:
            return None
        ids = np.memmap(path / "ids.bin", dtype, mode="r")
        starts: np.ndarray = np.memmap(path / "documents.bin", np.int64, mode="r")
        if len(ids) != counts.tokens + 1 or len(starts) != manifest["documents_ended"] + 1:
            return None
        if starts[-1] == len(ids):  # the end of the last document begins none
            starts = starts[:-1]
        if len(starts) > 1:
            counts = replace(counts, tokens=len(ids))
        else:
            ids = np.memmap(path / "ids.bin", dtype, mode="r", offset=dtype.itemsize)
            starts = ONE_DOCUMENT
        with suppress(OSError):  # a cache that can only be read is as good
            os.utime(path)
        sha256 = manifest["corpus_sha256"]
        shingles = Sketch.from_bytes((path / "shingles.safetensors").read_bytes())
        return TokenStream(
            ids, **asdict(counts), corpus_sha256=sha256, document_starts=starts, shingles=shingles
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def build_store(
    path: Path,
    pieces: Iterable[Piece],
    dtype: np.dtype[Any],
    facts: dict[str, str],
) -> None:
    """Write a complete store or none; OSError if the disk refuses.

    Args:
        path: where; a sound store already there stays, and the new one is discarded.
        pieces: the text as ids of type `dtype`.
        facts: for the manifest: `corpus_sha256`, and anything else worth keeping.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".building-", dir=path.parent))
    try:
        total, ended, sketch = Counts(), 0, SketchBuilder()
        names = "ids.bin", "documents.bin"
        with (staging / names[0]).open("wb") as file, (staging / names[1]).open("wb") as starts:
            file.write(np.array([END_ID], dtype).data)
            starts.write(np.array([1], np.int64).data)
            for ids, counts, ends, shingles in pieces:
                file.write(ids.data)
                starts.write((ends + (1 + total.tokens)).astype(np.int64).data)
                total += counts
                ended += len(ends)
                sketch.add(shingles)
            for written in (file, starts):
                written.flush()
                os.fsync(written.fileno())
        manifest = {
            "format_version": FORMAT_VERSION,
            **facts,
            "dtype": dtype.name,
            "counts": asdict(total),
            "documents_ended": ended,
            "size_bytes": (1 + total.tokens) * dtype.itemsize,
        }
        write_durably(staging / "shingles.safetensors", sketch.finish().to_bytes())
        write_durably(staging / "manifest.json", json.dumps(manifest, indent=2).encode())
        if open_store(path) is None:
            shutil.rmtree(path, ignore_errors=True)  # damaged, if it exists at all
        try:
            staging.rename(path)
        except OSError:
            if open_store(path) is None:
                raise
        flush_directory(path.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def keep_newest(directory: Path, kept: int) -> None:
    """Delete all but the `kept` most recently used entries of a cache directory.

    Hidden entries are work in progress: they do not count, and are deleted once a day old.
    """
    now_s = time.time()
    ages = []
    for entry in directory.iterdir():
        try:
            age_s = now_s - entry.stat().st_mtime
        except FileNotFoundError:  # another process is deleting too
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
