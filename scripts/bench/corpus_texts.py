"""The files of `corpus.py`: made-up text, written fast enough for ten gigabytes.

The words are those of `encoding_texts.py`, drawn from the same distribution, but there is no
Chinese, and nothing but spaces and line breaks between words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from encoding_texts import CORE_WORDS, KINDS_OF_WORDS, draw_ranks, spell_words

FORMATS = ("txt", "jsonl", "txt.zst", "jsonl.zst")
WORDS_AT_ONCE = 1 << 18
RANKS_DRAWN = 1 << 23
WORDS_PER_LINE = 60


@cache
def draw_words(kinds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All words as bytes, a space after each: where each begins, its length; and words drawn.

    Words are drawn from those drawn here, ten times as fast as from the distribution.
    """
    spelled = [f"{word} ".encode() for word in spell_words(kinds)]
    lengths = np.fromiter(map(len, spelled), np.int64, len(spelled))
    rank = np.arange(kinds) + 3.7
    share = np.where(rank < CORE_WORDS, 1 / rank, CORE_WORDS**0.6 / rank**1.6)
    drawn = draw_ranks(np.random.default_rng(0), np.cumsum(share), RANKS_DRAWN)
    text = np.frombuffer(b"".join(spelled), np.uint8)
    return text, np.cumsum(lengths) - lengths, lengths, drawn


def draw_text(seed: int, size: int, kinds: int) -> Iterator[bytes]:
    """About `size` bytes of text in pieces; the same every time."""
    random = np.random.default_rng(seed)
    text, starts, lengths, drawn = draw_words(kinds)
    left = size
    while left > 0:
        ranks = drawn[random.integers(len(drawn), size=WORDS_AT_ONCE)]
        taken = lengths[ranks]
        ends = np.cumsum(taken)
        piece = text[np.repeat(starts[ranks] - (ends - taken), taken) + np.arange(ends[-1])]
        breaks = ends[random.random(len(ends)) < 1 / WORDS_PER_LINE] - 1
        piece[breaks] = ord("\n")
        piece[-1] = ord("\n")
        yield piece[:left].tobytes()
        left -= len(piece)


def write_file(path: Path, seed: int, size: int, kinds: int = KINDS_OF_WORDS) -> None:
    """A file of a format that its name tells."""
    if path.suffix == ".zst":
        from llm_timecycle.text.files.compression import zstd

        file = zstd.open(path, "wb")
    else:
        file = path.open("wb")
    with file:
        for piece in draw_text(seed, size, kinds):
            if ".jsonl" in path.suffixes:
                lines = piece.decode().splitlines()
                piece = "".join(json.dumps({"text": line}) + "\n" for line in lines).encode()
            file.write(piece)


def write_files(directory: Path, megabytes: int, files: int, formats: list[str]) -> None:
    """A corpus of files of equal length, of one format after another; written by all cores."""
    directory.mkdir()
    size = megabytes * 1_000_000 // files
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        paths = [directory / f"{n:04}.{formats[n % len(formats)]}" for n in range(files)]
        list(pool.map(write_file, paths, range(files), [size] * files))
