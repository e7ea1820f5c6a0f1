"""Encoding a corpus: its text to ids, chunk by chunk, in threads or in worker processes.

At char and byte level NumPy does the work, without the interpreter's lock: threads. At word and
subword level the interpreter does it: processes, for a text that is worth starting them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from llm_timecycle.config.text_settings import Documents, Normalization, TokenizerSettings
from llm_timecycle.files import read_regular
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.system import count_hardware_threads
from llm_timecycle.text.chunks import Chunk
from llm_timecycle.text.corpus import Corpus
from llm_timecycle.text.counting import count_words
from llm_timecycle.text.parallel.pool import WorkerPool, count_workers, map_in_order
from llm_timecycle.text.shingles import Sketch, choose_level, sketch_piece
from llm_timecycle.text.token_store import Counts, Piece
from llm_timecycle.text.tokenizer.load import FILE_BYTES_AT_MOST
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

THREADS_AT_MOST = 4
"""NumPy is faster than this process reads text."""

_Item = tuple[Chunk, bool]
"""The arguments of `encode_chunk` after the first."""
_Packed = tuple[bytes, tuple[int, ...], bytes, tuple[int, bytes, bytes]]
"""A `Piece` in plain values, as a worker sends it."""


def encode_documents(
    tokenizer: Tokenizer, corpus: Corpus, show_progress: bool = False, start: int = 0
) -> Generator[Piece]:
    """Each chunk of a corpus, encoded, in order.

    With `start`, only those from this character of the corpus on, which must be the end of one.

    `<eos>` ends each document, unless a split cut the document off or it already ends in one, as
    a file does after a final line break at word level with the whitespace split.
    """
    characters = corpus.count_characters()
    size = corpus.count_bytes()
    bytes_per_character = size / max(characters, 1)
    with (
        open_encoder(tokenizer, characters) as encode,
        tqdm(
            desc=f"encoding {corpus.name}",
            total=size,
            initial=round(start * bytes_per_character),
            unit="B",
            unit_scale=True,
            leave=False,
            disable=not show_progress,
        ) as bar,
    ):
        for piece in encode(_read_chunks(corpus, start)):
            yield piece
            bar.update(piece.counts.characters * bytes_per_character)


def _read_chunks(corpus: Corpus, start: int) -> Iterator[_Item]:
    """The chunks of all documents, from a character on; ValueError if none begins there.

    A file before it is not read again, and one that it lies in is read from its start, so that the
    chunks are those that they would be without it.
    """
    for document in corpus.documents():
        length = document.count_characters()
        if start >= length > 0:
            start -= length
            continue
        for item in _note_line_breaks(document.chunks()):
            if start > 0:
                start -= len(item[0].text)
            elif start == 0:
                yield item
            else:
                raise ValueError("no chunk begins there")


def encode_chunk(tokenizer: Tokenizer, level: int, chunk: Chunk, follows_line_break: bool) -> Piece:
    """The ids of a chunk, with an `<eos>` after each document that ends in it.

    Args:
        level: of the sketch, see `sketch_piece`.
        follows_line_break: whether the text before it, of the same document, ends in a line break.
    """
    texts = chunk.split()
    ids, lengths = tokenizer.encode_each(texts)
    content, is_one = chunk.text.encode(), len(texts) == 1
    counts = Counts(
        tokens=len(ids),
        words=count_words(chunk.text, content)
        if is_one
        else sum(len(text.split()) for text in texts),
        characters=len(chunk.text),
        bytes=len(content),
        unknown=int(np.count_nonzero(ids == tokenizer.unk_id)),
    )
    lengths = lengths[: len(chunk.ends)]
    ends = np.cumsum(lengths)
    needs_eos = np.ones(len(ends), bool)
    needs_eos[lengths > 0] = ids[ends[lengths > 0] - 1] != tokenizer.eos_id
    if len(ends) and lengths[0] == 0 and follows_line_break:
        needs_eos[0] = tokenizer.does_eos_end_documents
    ids = np.insert(ids, ends[needs_eos], tokenizer.eos_id)
    return Piece(
        ids,
        replace(counts, tokens=len(ids)),
        ends + np.cumsum(needs_eos),
        sketch_piece(content, level),
    )


def _note_line_breaks(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, bool]]:
    """Each chunk of a file, and whether a line break, with blanks after it or not, is before it."""
    follows_line_break = False
    for chunk in chunks:
        yield chunk, follows_line_break
        text = chunk.text.rstrip(" \t")
        follows_line_break = text.endswith("\n") if text else follows_line_break


@contextmanager
def open_encoder(
    tokenizer: Tokenizer, characters: int
) -> Iterator[Callable[[Iterable[_Item]], Iterator[Piece]]]:
    """A `map` of `encode_chunk` over chunks, for a text of so many characters."""
    holds_lock = tokenizer.settings.level in ("word", "subword")
    workers = count_workers(characters) if holds_lock else 0
    level = choose_level(characters)
    if workers == 0:
        ahead = min(THREADS_AT_MOST, count_hardware_threads())
        with ThreadPoolExecutor(ahead) as threads:
            yield partial(
                map_in_order, threads, ahead, lambda item: encode_chunk(tokenizer, level, *item)
            )
        return
    with tempfile.TemporaryDirectory(prefix="llm-timecycle-") as directory:
        path = Path(directory) / "tokenizer.json"
        tokenizer.save(path)
        settings = tokenizer.settings.model_dump_json()
        how = tokenizer.documents, tokenizer.normalize
        task = ("encode", settings, *how, str(path), str(level))
        with WorkerPool(task, partial(_encode_packed, tokenizer, level), workers) as pool:
            yield lambda items: (
                _unpack(packed, tokenizer)
                for packed in pool.map((tuple(chunk), follows) for chunk, follows in items)
            )


def make_encoder(
    settings: str, documents: Documents, normalize: Normalization, path: str, level: str
) -> Callable[[Any], _Packed]:
    """What a worker does with each chunk.

    Args:
        settings: the settings of the tokenizer, as JSON.
        documents: what a document is.
        normalize: the Unicode normalization form that every text is brought into first.
        path: its `tokenizer.json`.
        level: of the sketch, see `encode_chunk`.
    """
    parsed = TokenizerSettings.model_validate_json(settings)
    content = read_regular(Path(path), FILE_BYTES_AT_MOST)
    tokenizer = Tokenizer.parse(content, path, parsed, documents=documents, normalize=normalize)
    return partial(_encode_packed, tokenizer, int(level))


def _encode_packed(tokenizer: Tokenizer, level: int, item: tuple[Any, bool]) -> _Packed:
    chunk, follows_line_break = item
    ids, counts, ends, shingles = encode_chunk(tokenizer, level, Chunk(*chunk), follows_line_break)
    sample = shingles.level, shingles.keys.tobytes(), shingles.counts.tobytes()
    return ids.tobytes(), astuple(counts), ends.astype(np.int64).tobytes(), sample


def _unpack(packed: _Packed, tokenizer: Tokenizer) -> Piece:
    ids, counts, ends, (level, keys, occurrences) = packed
    sample = Sketch(level, np.frombuffer(keys, np.uint64), np.frombuffer(occurrences, np.int64))
    return Piece(
        np.frombuffer(ids, tokenizer.dtype),
        Counts(*counts),
        np.frombuffer(ends, np.int64),
        sample,
    )
