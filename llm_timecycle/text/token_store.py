"""The token store: a corpus encoded once, its ids on disk with a manifest that covers every file.

    <cache>/tokens/<key>/ids.bin  documents.bin  shingles.safetensors  manifest.json

`ids.bin` is an `<eos>` and the ids, of the narrowest type for the vocabulary; `documents.bin` the
index of the first id after each `<eos>` that is the end of a document or the first one, int64. A
stream of several documents begins with that first `<eos>`, so that its first document is read like
all others; a stream of one document, such as a novel, begins with its own first id.

The key is a hash of everything the ids depend on. A store is always complete: `shards.store_writer`
writes it. If two processes write the same store, the second to finish discards its copy. Only the
most recently used stores are kept; a process that is reading a deleted one can continue.

Whenever a store is opened, all of it is hashed, and its numbers are compared with one another. Up
to 64 MB of ids are copied then and cannot change any more. More are mapped from the file: cut
short while it is read, it ends the process, and written over, it gives other ids.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llm_timecycle.files import read_or_map, read_regular
from llm_timecycle.sealed_json import read_sealed
from llm_timecycle.text.batches import ONE_DOCUMENT, release_pages
from llm_timecycle.text.cached_files import drop_damaged
from llm_timecycle.text.shingles import EMPTY_SKETCH, Sketch
from llm_timecycle.text.tokenizer.encode import choose_dtype
from llm_timecycle.text.tokenizer.pipelines import END_ID, UNKNOWN_ID

FORMAT_VERSION: Final = 3
IDS, DOCUMENTS, SHINGLES = "ids.bin", "documents.bin", "shingles.safetensors"
MANIFEST = "manifest.json"
MANIFEST_BYTES_AT_MOST = 1 << 16
SKETCH_BYTES_AT_MOST = 1 << 24
NUMBERS_CHECKED_AT_ONCE = 1 << 20
START_BYTES = np.dtype(np.int64).itemsize


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
    """The ids (N,), in the narrowest unsigned type; read-only."""
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


@dataclass(frozen=True)
class Origin:
    """What the ids of a store depend on."""

    corpus_sha256: str
    """The hash of the corpus."""
    tokenizer_sha256: str
    """The hash of the tokenizer's `tokenizer.json`."""
    vocab_size: int
    """Its tokens (V)."""


Whole = Annotated[int, Field(ge=0, le=2**53)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Stored(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class StoredCounts(_Stored):
    tokens: Whole
    words: Whole
    characters: Whole
    bytes: Whole
    unknown: Whole

    @model_validator(mode="after")
    def _compare(self) -> StoredCounts:
        if self.unknown > self.tokens or not self.words <= self.characters <= self.bytes:
            raise ValueError("its counts contradict one another")
        return self


class Manifest(_Stored):
    format_version: Literal[3]
    corpus_sha256: Sha256
    tokenizer_sha256: Sha256
    vocab_size: Annotated[int, Field(ge=2, le=1 << 32)]
    counts: StoredCounts
    documents_ended: Whole
    ids_sha256: Sha256
    documents_sha256: Sha256
    shingles_sha256: Sha256


def open_store(path: Path, origin: Origin) -> TokenStream | None:
    """The store at `path`, marked as just used; None if there is none.

    One that is damaged, or is not what `origin` says, is deleted, and the log says so.
    """
    try:
        stream = _open(path, origin)
    except (OSError, ValueError) as error:
        if os.path.lexists(path):
            drop_damaged(path, explain(error))
        return None
    with suppress(OSError):  # a cache that can only be read is as good
        os.utime(path)
    return stream


def read_manifest(path: Path, origin: Origin) -> Manifest:
    """A manifest; OSError or ValueError if it is not there, damaged, or of another origin."""
    content = read_regular(path, MANIFEST_BYTES_AT_MOST)
    manifest = Manifest.model_validate(read_sealed(content))
    if any(getattr(manifest, name) != value for name, value in asdict(origin).items()):
        raise ValueError("it is of another text or another tokenizer")
    return manifest


def _open(path: Path, origin: Origin) -> TokenStream:
    """A store; OSError or ValueError if it is not there, damaged, or of another origin."""
    manifest = read_manifest(path / MANIFEST, origin)
    counts, dtype = Counts(**manifest.counts.model_dump()), choose_dtype(origin.vocab_size)
    stored_ids = _read(path / IDS, (counts.tokens + 1) * dtype.itemsize)
    stored_starts = _read(path / DOCUMENTS, (manifest.documents_ended + 1) * START_BYTES)
    stored_sketch = read_regular(path / SHINGLES, SKETCH_BYTES_AT_MOST)
    ids: np.ndarray = np.ndarray(counts.tokens + 1, dtype, stored_ids)
    starts: np.ndarray = np.ndarray(manifest.documents_ended + 1, np.int64, stored_starts)
    check_hash(stored_sketch, manifest.shingles_sha256, SHINGLES)
    _check_starts(starts, manifest)
    _check_ids(ids, starts, manifest)
    documents = len(starts) - (starts[-1] == len(ids))  # the end of the last one begins none
    if documents > 1:
        starts = np.ndarray(documents, np.int64, stored_starts)
        counts = replace(counts, tokens=len(ids))
    else:
        ids, starts = np.ndarray(counts.tokens, dtype, stored_ids, dtype.itemsize), ONE_DOCUMENT
    return TokenStream(
        ids,
        **asdict(counts),
        corpus_sha256=origin.corpus_sha256,
        document_starts=starts,
        shingles=Sketch.from_bytes(stored_sketch),
    )


def _read(path: Path, size: int) -> bytes | mmap.mmap:
    """The content of a file of a store; ValueError if it is of another size."""
    content = read_or_map(path)
    if len(content) != size:
        raise ValueError(f"{path.name} has {len(content):,} bytes, and expected are {size:,}")
    return content


def check_hash(content: bytes, sha256: str, name: str) -> None:
    """Raise ValueError if a content is not the one that was hashed."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{name} has changed")


def _check_starts(starts: np.ndarray, manifest: Manifest) -> None:
    """Compare starts of documents (D,) with the manifest; ValueError if in vain."""
    digest, before, are_sorted = hashlib.sha256(), 0, True
    for begin in range(0, len(starts), NUMBERS_CHECKED_AT_ONCE):
        block = starts[begin : begin + NUMBERS_CHECKED_AT_ONCE]
        digest.update(block.data)
        are_sorted &= block[0] > before and bool(np.all(np.diff(block) > 0))
        before = int(block[-1])
        release_pages(starts)
    if digest.hexdigest() != manifest.documents_sha256:
        raise ValueError(f"{DOCUMENTS} has changed")
    if not are_sorted:
        raise ValueError("its documents do not follow one another")


def _check_ids(ids: np.ndarray, starts: np.ndarray, manifest: Manifest) -> None:
    """Compare ids (N + 1,) and starts of documents (D,) with the manifest; ValueError if in vain.

    The ids are read once. The hash finds what happened by accident. What else is checked keeps
    numbers of another making from being used as indices.
    """
    if starts[0] != 1 or starts[-1] > len(ids):
        raise ValueError("its documents do not follow one another")
    digest, unknown = hashlib.sha256(), 0
    for begin in range(0, len(ids), NUMBERS_CHECKED_AT_ONCE):
        block = ids[begin : begin + NUMBERS_CHECKED_AT_ONCE]
        digest.update(block.data)
        unknown += int(np.count_nonzero(block == UNKNOWN_ID))
        first, last = np.searchsorted(starts, [begin + 1, begin + len(block) + 1])
        if block.max() >= manifest.vocab_size:
            raise ValueError("an id is not in the vocabulary")
        if np.any(block[starts[first:last] - (begin + 1)] != END_ID):
            raise ValueError("a document begins where none has ended")
        release_pages(ids)
        release_pages(starts)
    if digest.hexdigest() != manifest.ids_sha256:
        raise ValueError(f"{IDS} has changed")
    if unknown != manifest.counts.unknown:
        raise ValueError("its counts are those of another text")


def explain(error: OSError | ValueError) -> str:
    """Why a store cannot be used, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
