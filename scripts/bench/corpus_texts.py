"""The files of `corpus.py`: made-up text, written fast enough for ten gigabytes.

Words are those of `encoding_texts.py`, with fewer rare ones, a space or a line break after each.
Every file is made of the same pieces of a megabyte, in another order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from encoding_texts import CORE_WORDS, KINDS_OF_WORDS, draw_ranks, spell_words

FORMATS = ("txt", "jsonl", "txt.zst", "jsonl.zst")
WORDS_PER_PIECE = 1 << 18
PIECES = 128
WORDS_PER_LINE = 60


@cache
def draw_pieces(kinds: int, pieces: int = PIECES) -> list[bytes]:
    """Pieces of text, of lines; the same every time."""
    random = np.random.default_rng(0)
    spelled = [f"{word} ".encode() for word in spell_words(kinds)]
    text, lengths = np.frombuffer(b"".join(spelled), np.uint8), np.array([*map(len, spelled)])
    starts = np.cumsum(lengths) - lengths
    rank = np.arange(kinds) + 3.7
    total = np.cumsum(np.where(rank < CORE_WORDS, 1 / rank, CORE_WORDS / rank**2))
    drawn = []
    for _ in range(pieces):
        ranks = draw_ranks(random, total, WORDS_PER_PIECE)
        taken = lengths[ranks]
        ends = np.cumsum(taken)
        piece = text[np.repeat(starts[ranks] - (ends - taken), taken) + np.arange(ends[-1])]
        piece[ends[random.random(len(ends)) < 1 / WORDS_PER_LINE] - 1] = ord("\n")
        piece[-1] = ord("\n")
        drawn.append(piece.tobytes())
    return drawn


def draw_text(seed: int, size: int, pieces: list[bytes]) -> Iterator[bytes]:
    """Text of `size` bytes, in pieces."""
    random = np.random.default_rng(seed)
    while size > 0:
        piece = pieces[random.integers(len(pieces))]
        yield piece[:size]
        size -= len(piece)


def write_file(path: Path, seed: int, size: int, pieces: list[bytes]) -> None:
    """A file of a format that its name tells."""
    if path.suffix == ".zst":
        from llm_timecycle.text.files.compression import zstd

        file = zstd.open(path, "wb")
    else:
        file = path.open("wb")
    with file:
        for piece in draw_text(seed, size, pieces):
            if ".jsonl" in path.suffixes:
                lines = piece.decode().splitlines()
                piece = "".join(json.dumps({"text": line}) + "\n" for line in lines).encode()
            file.write(piece)


def write_files(directory: Path, megabytes: int, files: int, formats: list[str]) -> None:
    """A corpus of files of equal length, of one format after another."""
    directory.mkdir()
    pieces = draw_pieces(KINDS_OF_WORDS)
    for number in range(files):
        path = directory / f"{number:04}.{formats[number % len(formats)]}"
        write_file(path, number, megabytes * 1_000_000 // files, pieces)
