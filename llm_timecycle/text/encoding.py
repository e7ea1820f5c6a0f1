"""Encoding a corpus: its text to ids, chunk by chunk, in threads or in worker processes.

At char and byte level NumPy does the work, without the interpreter's lock: threads. At word and
subword level the interpreter does it: processes, for a text that is worth starting them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple
from functools import partial
from pathlib import Path

import numpy as np

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.system import count_hardware_threads
from llm_timecycle.text.corpus import Corpus
from llm_timecycle.text.parallel.pool import WorkerPool, count_workers, map_in_order
from llm_timecycle.text.token_store import Counts
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

THREADS_AT_MOST = 4
"""NumPy is faster than this process reads text."""

Encoded = tuple[np.ndarray, Counts]
_Packed = tuple[bytes, tuple[int, ...]]
"""`Encoded` in plain values, as a worker sends it."""


def encode_chunk(tokenizer: Tokenizer, text: str) -> Encoded:
    """The ids (N,) of a chunk of text, and its counts."""
    ids = tokenizer.encode(text)
    unknown = int(np.count_nonzero(ids == tokenizer.unk_id))
    return ids, Counts(len(ids), len(text.split()), len(text), len(text.encode()), unknown)


def encode_documents(
    tokenizer: Tokenizer, corpus: Corpus, show_progress: bool = False
) -> Generator[Encoded]:
    """The ids (N,) and the counts of each piece of a corpus, in order.

    `<eos>` ends each document, unless a split cut the document off or it already ends in one, as
    it does at word level after a final line break.
    """
    with (
        open_encoder(tokenizer, corpus.count_characters()) as encode,
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
            texts = (chunk.text for chunk in document.chunks())
            for ids, counts in encode(texts):
                yield ids, counts
                bar.update(counts.characters)
                last_id = ids[-1] if len(ids) else last_id
            if document.reaches_end and last_id != tokenizer.eos_id:
                yield np.array([tokenizer.eos_id], tokenizer.dtype), Counts(tokens=1)


@contextmanager
def open_encoder(
    tokenizer: Tokenizer, characters: int
) -> Iterator[Callable[[Iterable[str]], Iterator[Encoded]]]:
    """A `map` of `encode_chunk` over chunks, for a text of so many characters."""
    holds_lock = tokenizer.settings.level in ("word", "subword")
    workers = count_workers(characters) if holds_lock else 0
    if workers == 0:
        ahead = min(THREADS_AT_MOST, count_hardware_threads())
        with ThreadPoolExecutor(ahead) as threads:
            yield partial(map_in_order, threads, ahead, partial(encode_chunk, tokenizer))
        return
    with tempfile.TemporaryDirectory(prefix="llm-timecycle-") as directory:
        path = Path(directory) / "tokenizer.json"
        tokenizer.save(path)
        task = ("encode", tokenizer.settings.model_dump_json(), str(path))
        pool = WorkerPool[str, _Packed](task, partial(_encode_packed, tokenizer), workers)
        with pool:
            yield lambda chunks: (_unpack(each, tokenizer) for each in pool.map(chunks))


def make_encoder(settings: str, path: str) -> Callable[[str], _Packed]:
    """What a worker does with each chunk.

    Args:
        settings: the settings of the tokenizer, as JSON.
        path: its `tokenizer.json`.
    """
    tokenizer = Tokenizer.load(Path(path), TokenizerSettings.model_validate_json(settings))
    return partial(_encode_packed, tokenizer)


def _encode_packed(tokenizer: Tokenizer, text: str) -> _Packed:
    ids, counts = encode_chunk(tokenizer, text)
    return ids.tobytes(), astuple(counts)


def _unpack(packed: _Packed, tokenizer: Tokenizer) -> Encoded:
    ids, counts = packed
    return np.frombuffer(ids, tokenizer.dtype), Counts(*counts)
