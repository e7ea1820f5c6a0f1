"""A corpus to ids, chunk by chunk and in parallel, counting what goes by."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from llm_timecycle.text.corpus import Corpus
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

THREADS = min(4, os.cpu_count() or 1)

_Input = TypeVar("_Input")
_Output = TypeVar("_Output")


@dataclass(frozen=True)
class Counts:
    """How large a text is, in every unit.

    Characters, bytes and words are those of the text as it is read, before any lower-casing: all
    characters (line breaks too), the bytes of their UTF-8 form, and what stands between white
    space. So losses can be given a character, a byte or a word, whatever the tokens are.
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


def encode_documents(
    tokenizer: Tokenizer, corpus: Corpus, show_progress: bool = False
) -> Iterator[tuple[np.ndarray, Counts]]:
    """The ids (N,) and the counts of each piece of a corpus, in order.

    `<eos>` ends each document (but not one that a split has cut off): it is added unless the
    document ends in one already, as it does at word level after a last line break.
    """

    def encode(text: str) -> tuple[np.ndarray, Counts]:
        ids = tokenizer.encode(text)
        unknown = int(np.count_nonzero(ids == tokenizer.unk_id))
        return ids, Counts(len(ids), len(text.split()), len(text), len(text.encode()), unknown)

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
            last_id: int | None = None
            for ids, counts in _map_in_order(pool, encode, document.chunks()):
                yield ids, counts
                bar.update(counts.characters)
                last_id = ids[-1] if len(ids) else last_id
            if document.reaches_end and last_id != tokenizer.eos_id:
                yield np.array([tokenizer.eos_id], tokenizer.dtype), Counts(tokens=1)


def _map_in_order(
    pool: ThreadPoolExecutor, function: Callable[[_Input], _Output], inputs: Iterable[_Input]
) -> Iterator[_Output]:
    """`map` in threads that reads no further ahead than keeps them busy."""
    running: deque[Future[_Output]] = deque()
    for item in inputs:
        running.append(pool.submit(function, item))
        if len(running) > THREADS:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
