"""The token store: a corpus encoded once, its ids on disk as a memory-mapped array with a manifest.

    <cache>/tokens/<key>/ids.bin  shingles.safetensors  manifest.json

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
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from llm_timecycle.files import flush_directory, write_durably
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.system import count_hardware_threads
from llm_timecycle.text.corpus import Corpus
from llm_timecycle.text.counting import count_words
from llm_timecycle.text.shingles import (
    EMPTY_SKETCH,
    Sketch,
    SketchBuilder,
    choose_level,
    sketch_piece,
)
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

FORMAT_VERSION = 2
STALE_AFTER_S = 24 * 3600.0
WORKERS_AT_MOST = 4  # threads that encode

_Input = TypeVar("_Input")
_Output = TypeVar("_Output")


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
    """How many there are (N), each document's `<eos>` included."""
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
    shingles: Sketch | None = None
    """A sample of the runs of text in it, to find what two texts have in common."""


class Piece(NamedTuple):
    """A piece of text as ids."""

    ids: np.ndarray
    """The ids (N,)."""
    counts: Counts
    """The size of the piece."""
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
        if (path / "ids.bin").stat().st_size != counts.tokens * dtype.itemsize:
            return None
        ids = np.zeros(0, dtype)
        if counts.tokens > 0:
            ids = np.memmap(path / "ids.bin", dtype, mode="r", shape=(counts.tokens,))
        shingles = Sketch.from_bytes((path / "shingles.safetensors").read_bytes())
        os.utime(path)
        return TokenStream(
            ids,
            **asdict(counts),
            corpus_sha256=manifest["corpus_sha256"],
            shingles=shingles,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def encode_documents(
    tokenizer: Tokenizer, corpus: Corpus, show_progress: bool = False
) -> Iterator[Piece]:
    """Each piece of a corpus, encoded, in order.

    `<eos>` ends each document, unless a split cut the document off or it already ends in one, as
    it does at word level after a final line break.
    """
    level = choose_level(corpus.count_characters())

    def encode(text: str) -> Piece:
        ids, content = tokenizer.encode(text), text.encode()
        unknown = int(np.count_nonzero(ids == tokenizer.unk_id))
        words = count_words(text, content)
        counts = Counts(len(ids), words, len(text), len(content), unknown)
        return Piece(ids, counts, sketch_piece(content, level))

    workers = min(WORKERS_AT_MOST, count_hardware_threads())
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(
            desc=f"encoding {corpus.name}",
            total=corpus.count_characters(),
            unit="char",
            unit_scale=True,
            leave=False,
            disable=not show_progress,
        ) as bar,
    ):
        for document in corpus.documents():
            last_id: int | None = None
            for piece in _map_in_order(pool, encode, document.chunks(), workers):
                yield piece
                bar.update(piece.counts.characters)
                last_id = piece.ids[-1] if len(piece.ids) else last_id
            if document.reaches_end and last_id != tokenizer.eos_id:
                yield Piece(np.array([tokenizer.eos_id], tokenizer.dtype), Counts(tokens=1))


def _map_in_order(
    pool: ThreadPoolExecutor,
    function: Callable[[_Input], _Output],
    inputs: Iterable[_Input],
    ahead: int,
) -> Iterator[_Output]:
    """`map` in threads that reads at most `ahead` inputs further than it has given results."""
    running: deque[Future[_Output]] = deque()
    for item in inputs:
        running.append(pool.submit(function, item))
        if len(running) > ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


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
        total, sketch = Counts(), SketchBuilder()
        with (staging / "ids.bin").open("wb") as file:
            for piece in pieces:
                file.write(piece.ids.data)
                total += piece.counts
                sketch.add(piece.shingles)
            file.flush()
            os.fsync(file.fileno())
        manifest = {
            "format_version": FORMAT_VERSION,
            **facts,
            "dtype": dtype.name,
            "counts": asdict(total),
            "size_bytes": total.tokens * dtype.itemsize,
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
