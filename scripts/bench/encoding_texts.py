"""The corpus of `encoding.py`, of N megabytes: `corpus.txt`, and other formats made of it.

    .venv/bin/python scripts/bench/encoding_texts.py DIRECTORY N [jsonl] [zst]

Made-up words, distributed as those of a natural language are (Zipf's law, steeper beyond the core
of the vocabulary; new words keep coming), in sentences and paragraphs, and one part in ten Chinese.
In `corpus.jsonl` each line is the `text` of an object; `corpus.txt.zst` is compressed.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np

COMPRESSORS = ("compression.zstd", "backports.zstd", "zstandard")
KINDS_OF_WORDS = 4_000_000
CORE_WORDS = 8_000
WORDS_AT_ONCE = 100_000
HAN_AT_ONCE = 20_000
CONSONANTS = (*"bcdfghklmnprstvw", "st", "tr", "ch", "sh")
VOWELS = (*"aeiou", "ea")


def spell_words(kinds: int) -> np.ndarray:
    """A word for each rank (kinds,): one syllable more for each factor of 120."""
    syllables = [c + v for v in VOWELS for c in CONSONANTS]
    base = len(syllables)
    words = []
    for rank in range(kinds):
        word = ""
        left = rank + 1
        while left:
            left, digit = divmod(left, base)
            word += syllables[digit]
        words.append(word)
    return np.array(words, dtype=object)


def draw_ranks(random: np.random.Generator, total: np.ndarray, size: int) -> np.ndarray:
    """`size` ranks of a distribution given by its running total."""
    return np.minimum(np.searchsorted(total, random.random(size) * total[-1]), len(total) - 1)


def write_corpus(path: Path, megabytes: int) -> None:
    """Write a text of so many megabytes; the same every time."""
    random = np.random.default_rng(1)
    words = spell_words(KINDS_OF_WORDS)
    rank = np.arange(KINDS_OF_WORDS) + 3.7
    share = np.where(rank < CORE_WORDS, 1 / rank, CORE_WORDS**0.6 / rank**1.6)
    word_total = np.cumsum(share)
    han_total = np.cumsum(1 / (np.arange(5000) + 20) ** 1.1)
    han_order = random.permutation(5000) + 0x4E00
    endings = np.array([" ", ", ", ". ", ".\n"], dtype=object)
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1_000_000:
            ranks = draw_ranks(random, word_total, WORDS_AT_ONCE)
            ending = random.choice(4, WORDS_AT_ONCE, p=[0.86, 0.07, 0.05, 0.02])
            pieces = words[ranks] + endings[ending]
            for place in np.flatnonzero(ending[:-1] >= 2) + 1:
                pieces[place] = pieces[place].capitalize()
            file.write("".join(pieces.tolist()) + "\n")
            han = han_order[draw_ranks(random, han_total, HAN_AT_ONCE)]
            mark = random.random(HAN_AT_ONCE)
            han[mark < 0.10] = ord("，")
            han[mark < 0.04] = ord("。")
            han[mark < 0.01] = ord("\n")
            file.write(han.astype("<u4").tobytes().decode("utf-32-le") + "\n")


def write_json_lines(path: Path, text: Path) -> None:
    """Write each line of a text as an object."""
    with path.open("w", encoding="utf-8") as file, text.open(encoding="utf-8") as lines:
        for line in lines:
            file.write(json.dumps({"text": line[:-1]}, ensure_ascii=False) + "\n")


def write_compressed(path: Path, text: Path) -> None:
    """Write a text compressed with Zstandard; ImportError if nothing here can."""
    module = None
    for name in COMPRESSORS:
        with suppress(ImportError):
            module = module or import_module(name)
    if module is None:
        raise ImportError(f"none of {', '.join(COMPRESSORS)} is installed")
    with text.open("rb") as source, module.open(path, "wb") as target:
        while block := source.read(1 << 20):
            target.write(block)


def main() -> None:
    """Write the corpus, in each format that can be written here."""
    directory, megabytes, *kinds = sys.argv[1:]
    print(f"generating {int(megabytes):,} MB of text ...", file=sys.stderr)
    text = Path(directory) / "corpus.txt"
    write_corpus(text, int(megabytes))
    if "jsonl" in kinds:
        write_json_lines(text.with_suffix(".jsonl"), text)
    if "zst" in kinds:
        try:
            write_compressed(text.with_suffix(".txt.zst"), text)
        except ImportError as error:
            print(f"skipped: zst: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
