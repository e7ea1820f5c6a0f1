"""The token store: a corpus encoded once, kept in the cache as one memory-mapped array.

    <cache>/tokens/<key>/ids.bin  manifest.json

The key is a hash of the corpus, the tokenizer, and the format of the store, so a store that is
found is the right one. It is written under a temporary name, flushed to the disk and renamed, so a
store that is found is whole; of two processes that build the same one, the second to finish uses
the first one's. The stores that were used last are kept, the others are deleted; a process that
still reads a deleted one can go on.
"""

from __future__ import annotations

import hashlib
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
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from llm_timecycle.errors import RunError
from llm_timecycle.files import explain_os_error, flush_directory, write_durably
from llm_timecycle.text.corpus import Corpus
from llm_timecycle.text.tokenizer import Tokenizer

FORMAT_VERSION = 1
STORES_KEPT = 20
STALE_AFTER_S = 24 * 3600.0
THREADS = min(4, os.cpu_count() or 1)

_Input = TypeVar("_Input")
_Output = TypeVar("_Output")


@dataclass(frozen=True)
class TokenStream:
    """A corpus as ids, and how large it is in every unit.

    Characters, bytes and words are those of the text as it is read, before any lower-casing: all
    characters (line breaks too), the bytes of their UTF-8 form, and what stands between white
    space. So losses can be given a character, a byte or a word, whatever the tokens are.
    """

    ids: np.ndarray
    """The ids (N,), memory-mapped, in the narrowest unsigned type."""
    tokens: int
    """How many there are (N), each document's `<eos>` included."""
    words: int
    """Words of the text."""
    characters: int
    """Characters of the text."""
    bytes: int
    """Bytes of the text."""
    unknown: int
    """Ids that are `<unk>`."""
    corpus_sha256: str
    """The hash of the corpus."""


@dataclass
class _Counts:
    tokens: int = 0
    words: int = 0
    characters: int = 0
    bytes: int = 0
    unknown: int = 0


def encode_corpus(
    tokenizer: Tokenizer, corpus: Corpus, cache: Path, show_progress: bool
) -> TokenStream:
    """The corpus as a stream of ids: read from its store, which is made where there is none.

    `<eos>` ends each document (but not a document that a split has cut off): it is added unless
    the document ends in one already, as it does at word level after a last line break.

    Args:
        cache: the directory of everything that can be made again.
        show_progress: whether to draw a progress bar on stderr.

    Raises DataError where the text cannot be read, RunError where the store cannot be written.
    """
    corpus.measure(show_progress)
    corpus_sha256 = corpus.sha256()
    tokenizer_sha256 = hashlib.sha256(tokenizer.to_json().encode()).hexdigest()
    key = hashlib.sha256(f"{corpus_sha256} {tokenizer_sha256} {FORMAT_VERSION}".encode())
    path = cache / "tokens" / key.hexdigest()[:32]
    if (stream := _open_store(path)) is not None:
        return stream
    facts = {
        "format_version": FORMAT_VERSION,
        "corpus": corpus.name,
        "corpus_sha256": corpus_sha256,
        "tokenizer_sha256": tokenizer_sha256,
    }
    try:
        _build_store(path, tokenizer, corpus, facts, show_progress)
        stream = _open_store(path)
    except OSError as error:
        raise RunError(
            f"cannot keep encoded text in {cache}: {explain_os_error(error)}, or name another "
            f"directory with the environment variable LLM_TIMECYCLE_CACHE"
        ) from error
    if stream is None:
        raise RunError(f"the encoded text in {path} was deleted while it was in use; try again")
    delete_oldest(path.parent, STORES_KEPT)
    return stream


def delete_oldest(directory: Path, kept: int) -> None:
    """Keep the entries of a cache directory that were used last, and delete the others."""
    now_s = time.time()
    ages = []
    for entry in directory.iterdir():
        try:
            age_s = now_s - entry.stat().st_mtime
        except FileNotFoundError:  # another process tidies too
            continue
        if not entry.name.startswith("."):
            ages.append((age_s, entry))
        elif age_s > STALE_AFTER_S:  # what a killed process left half-written
            _delete(entry)
    for _, entry in sorted(ages)[kept:]:
        _delete(entry)


def _delete(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def _open_store(path: Path) -> TokenStream | None:
    """The store at `path`; None where there is none, or one that is not what it says."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        dtype = np.dtype(manifest["dtype"])
        counts = _Counts(**manifest["counts"])
        if (path / "ids.bin").stat().st_size != counts.tokens * dtype.itemsize:
            return None
        ids: np.ndarray = np.zeros(0, dtype)
        if counts.tokens > 0:
            ids = np.memmap(path / "ids.bin", dtype, mode="r", shape=(counts.tokens,))
        os.utime(path)
        return TokenStream(ids, **asdict(counts), corpus_sha256=manifest["corpus_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _build_store(
    path: Path, tokenizer: Tokenizer, corpus: Corpus, facts: dict[str, Any], show_progress: bool
) -> None:
    """Encode into a directory with a temporary name, and give it its own at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".building-", dir=path.parent))
    try:
        dtype = tokenizer.encode("").dtype
        with (staging / "ids.bin").open("wb") as file:
            counts = _Counts()
            for ids, part in _encode_documents(tokenizer, corpus, show_progress):
                file.write(ids.astype(dtype, copy=False).data)
                _add(counts, part)
            file.flush()
            os.fsync(file.fileno())
        manifest = {
            **facts,
            "dtype": dtype.name,
            "size_bytes": counts.tokens * dtype.itemsize,
            "counts": asdict(counts),
        }
        write_durably(staging / "manifest.json", json.dumps(manifest, indent=2).encode())
        if path.exists() and _open_store(path) is None:
            shutil.rmtree(path)  # damaged
        try:
            staging.rename(path)
        except OSError:
            if _open_store(path) is None:
                raise
        flush_directory(path.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _encode_documents(
    tokenizer: Tokenizer, corpus: Corpus, show_progress: bool
) -> Iterator[tuple[np.ndarray, _Counts]]:
    """The ids and counts of each chunk of each document, in order."""

    def encode(text: str) -> tuple[np.ndarray, _Counts]:
        ids = tokenizer.encode(text)
        unknown = ids.size - np.count_nonzero(ids) if tokenizer.unk_id == 0 else 0
        return ids, _Counts(ids.size, len(text.split()), len(text), len(text.encode()), unknown)

    end = np.array([tokenizer.eos_id])
    with (
        ThreadPoolExecutor(THREADS) as pool,
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
            last_id = None
            for ids, counts in _map_in_order(pool, encode, document.chunks()):
                yield ids, counts
                bar.update(counts.characters)
                last_id = ids[-1] if ids.size else last_id
            if document.reaches_end and last_id != tokenizer.eos_id:
                yield end, _Counts(tokens=1)


def _map_in_order(
    pool: ThreadPoolExecutor, function: Callable[[_Input], _Output], inputs: Iterable[_Input]
) -> Iterator[_Output]:
    """`map` in threads that never runs further ahead than the threads need."""
    running: deque[Future[_Output]] = deque()
    for item in inputs:
        running.append(pool.submit(function, item))
        if len(running) > THREADS:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
