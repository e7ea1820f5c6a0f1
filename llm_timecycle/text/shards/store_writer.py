"""Writing a token store: whole at once, or shard by shard, so that a killed process goes on.

A store is written under a temporary name, flushed to disk and renamed, so it is always complete.

The store of a large text is written at a place that the next process finds again. After each shard
everything is flushed to the disk, and a manifest says what is there: it is that of a store which
ends here. Whoever goes on hashes what is there, cuts off what came after it, and encodes from there
on. The result is the same, byte for byte, as if nobody had been killed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np

from llm_timecycle import __version__
from llm_timecycle.files import flush_directory, read_regular, write_durably
from llm_timecycle.sealed_json import write_sealed
from llm_timecycle.text.shingles import Sketch, SketchBuilder
from llm_timecycle.text.token_store import (
    DOCUMENTS,
    FORMAT_VERSION,
    IDS,
    MANIFEST,
    SHINGLES,
    SKETCH_BYTES_AT_MOST,
    START_BYTES,
    Counts,
    Manifest,
    Origin,
    Piece,
    StoredCounts,
    check_hash,
    explain,
    open_store,
    read_manifest,
)
from llm_timecycle.text.tokenizer.encode import choose_dtype
from llm_timecycle.text.tokenizer.pipelines import END_ID

SHARD_CHARACTERS = 1 << 26
"""Characters of a text after which all is flushed, so that no more than these are encoded again."""
PROGRESS = "progress.json"
"""The manifest of what is written of a store so far."""
BYTES_HASHED_AT_ONCE = 1 << 20

log = logging.getLogger("llm_timecycle")


def build_store(path: Path, pieces: Iterable[Piece], origin: Origin) -> None:
    """Write a complete store or none; OSError if the disk refuses.

    Args:
        path: where; a sound store already there stays, and the new one is discarded.
        pieces: the text as ids, in the narrowest type for the vocabulary.
        origin: what they depend on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".building-", dir=path.parent))
    try:
        with StoreWriter.open(staging, origin) as writer:
            for piece in pieces:
                writer.add(piece)
            writer.save(MANIFEST)
        _publish(staging, path, origin)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def build_in_shards(
    path: Path,
    encode: Callable[[int], Generator[Piece]],
    origin: Origin,
    shard_characters: int,
) -> None:
    """Write a store as `build_store` does, from where a process was stopped that wrote the same.

    A second process waits until the first one is done, or ends.

    Args:
        path: where.
        encode: gives the ids from a character of the text on.
        origin: what they depend on.
        shard_characters: what is encoded again at most.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Another version of the program may cut a text into other chunks.
    staging = path.parent / f".shards-{path.name}-{__version__}"
    lock_path = staging.with_name(f"{staging.name}.lock")
    with _hold(lock_path, path):
        if path.exists():  # by now
            return
        staging.mkdir(exist_ok=True)
        if not _is_complete(staging):
            for _ in _write_shards(staging, encode, origin, shard_characters):
                os.utime(lock_path)  # old ones are deleted
        _drop_progress(staging)
        _publish(staging, path, origin)


def _is_complete(staging: Path) -> bool:
    """Whether a process was killed after it had written all."""
    return (staging / MANIFEST).exists() and not (staging / PROGRESS).exists()


def _write_shards(
    staging: Path,
    encode: Callable[[int], Generator[Piece]],
    origin: Origin,
    shard_characters: int,
) -> Iterator[int]:
    """Write what is missing of a store; after each shard, the characters of the text so far."""
    with StoreWriter.open(staging, origin) as writer:
        saved_at = start = writer.counts.characters
        if start:
            log.info("%s characters are encoded already: going on from there", f"{start:,}")
        with closing(encode(start)) as pieces:
            for piece in pieces:
                writer.add(piece)
                if writer.counts.characters - saved_at >= shard_characters:
                    writer.save(PROGRESS)
                    saved_at = writer.counts.characters
                    yield saved_at
        writer.save(MANIFEST)


def _drop_progress(staging: Path) -> None:
    """Delete what only a process that goes on needs, first what says that there is more to do."""
    for path in (staging / PROGRESS, *staging.glob(f"*-{SHINGLES}")):
        path.unlink(missing_ok=True)


@contextmanager
def _hold(lock_path: Path, path: Path) -> Iterator[None]:
    """Be the only process that writes a store; waits for another one."""
    from filelock import FileLock, Timeout  # tens of milliseconds that small texts do not need

    lock = FileLock(lock_path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another process encodes the same text, to %s: waiting for it", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _publish(staging: Path, path: Path, origin: Origin) -> None:
    """Give a complete store its name, unless a sound one has it already."""
    try:
        staging.rename(path)
    except OSError:  # something is there
        if open_store(path, origin) is None:
            staging.rename(path)
    flush_directory(path.parent)


class StoreWriter:
    """Writes the files of a store into a directory; a `with` statement closes them.

    Attributes:
        counts: of the text that is written.
    """

    def __init__(self, directory: Path, origin: Origin) -> None:
        self._directory, self._origin = directory, origin
        self._ids, self._starts = _HashedFile(directory / IDS), _HashedFile(directory / DOCUMENTS)
        self._dtype = choose_dtype(origin.vocab_size)
        self._documents_ended, self._sketch = 0, SketchBuilder()
        self.counts = Counts()

    @classmethod
    def open(cls, directory: Path, origin: Origin) -> Self:
        """A writer that goes on where `save(PROGRESS)` was called last, or begins.

        What is damaged is written again from the start, and the log says so.
        """
        writer = cls(directory, origin)
        try:
            writer._go_on()
        except (OSError, ValueError) as error:
            if (directory / PROGRESS).exists():
                log.warning("%s is damaged (%s): it is made again", directory, explain(error))
            writer._begin()
        return writer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._ids.close()
        self._starts.close()

    def add(self, piece: Piece) -> None:
        """Write the next piece."""
        assert piece.ids.dtype == self._dtype
        self._ids.write(piece.ids)
        self._starts.write((piece.ends + (1 + self.counts.tokens)).astype(np.int64))
        self.counts += piece.counts
        self._documents_ended += len(piece.ends)
        self._sketch.add(piece.shingles)

    def save(self, name: str) -> None:
        """Flush all to the disk, then write the manifest.

        Args:
            name: MANIFEST ends the store, PROGRESS lets the next process go on from here.
        """
        for file in (self._ids, self._starts):
            file.flush()
        earlier = {*self._directory.glob(f"*-{SHINGLES}")}
        sketch = self._directory / SHINGLES
        if name == PROGRESS:  # a process killed before the manifest needs the one before
            sketch = self._find_sketch(self.counts.characters)
        sketch_sha256 = write_durably(sketch, self._sketch.finish().to_bytes())
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            **asdict(self._origin),
            counts=StoredCounts(**asdict(self.counts)),
            documents_ended=self._documents_ended,
            ids_sha256=self._ids.sha256,
            documents_sha256=self._starts.sha256,
            shingles_sha256=sketch_sha256,
        )
        write_durably(self._directory / name, write_sealed(manifest.model_dump()))
        if name == PROGRESS:
            for path in earlier - {sketch}:
                path.unlink()

    def _begin(self) -> None:
        for file in (self._ids, self._starts):
            file.keep(0)
        self._ids.write(np.array([END_ID], self._dtype))
        self._starts.write(np.array([1], np.int64))

    def _go_on(self) -> None:
        """Take over what is there; OSError or ValueError if it is nothing, or damaged."""
        manifest = read_manifest(self._directory / PROGRESS, self._origin)
        counts = Counts(**manifest.counts.model_dump())
        content = read_regular(self._find_sketch(counts.characters), SKETCH_BYTES_AT_MOST)
        check_hash(content, manifest.shingles_sha256, SHINGLES)
        sketch = Sketch.from_bytes(content)
        self._ids.keep((counts.tokens + 1) * self._dtype.itemsize, manifest.ids_sha256)
        self._starts.keep((manifest.documents_ended + 1) * START_BYTES, manifest.documents_sha256)
        self.counts, self._documents_ended = counts, manifest.documents_ended
        self._sketch.add(sketch)

    def _find_sketch(self, characters: int) -> Path:
        """Where the sketch of so many characters is kept until the store is complete."""
        return self._directory / f"{characters}-{SHINGLES}"


class _HashedFile:
    """A file that is written at its end, and the hash of all that is in it."""

    def __init__(self, path: Path) -> None:
        self._name, self._file = path.name, path.open("a+b")
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of the content, in hex."""
        return self._digest.hexdigest()

    def keep(self, size: int, sha256: str | None = None) -> None:
        """Keep the first `size` bytes of what is there; ValueError if that is not their hash."""
        self._digest = hashlib.sha256()
        self._file.seek(0)
        for left in range(size, 0, -BYTES_HASHED_AT_ONCE):
            self._digest.update(self._file.read(min(left, BYTES_HASHED_AT_ONCE)))
        if sha256 not in (None, self.sha256):
            raise ValueError(f"{self._name} has changed")
        self._file.truncate(size)

    def write(self, numbers: np.ndarray) -> None:
        """Write numbers after what is there."""
        self._file.write(numbers.data)
        self._digest.update(numbers.data)

    def flush(self) -> None:
        """Write what is left to the disk itself; OSError if it refuses."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close it; what was not flushed may be lost."""
        self._file.close()
