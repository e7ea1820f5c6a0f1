"""How fast a text is prepared, and in how much memory: the whole of `prepare_text`, by level.

    .venv/bin/python scripts/bench/encoding.py [--megabytes N] [--level LEVEL]... [--json]

A corpus of N megabytes (1,000 unless told) is generated: made-up words, distributed as those of a
natural language are (Zipf's law, steeper beyond the core of the vocabulary; new words keep
coming), in sentences and paragraphs, and one part in ten Chinese. For each level a fresh process
reads it, splits it, trains the tokenizer and encodes the three parts into an empty cache; then
another one does it again, with all in the cache. Peak memory is that of the process as the system
saw it (`ru_maxrss`), Python and NumPy included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LEVELS = {
    "char": {"level": "char", "vocab_size": 5000},
    "byte": {"level": "byte"},
    "word": {"level": "word", "word_split": "whitespace"},
    "word-unicode": {"level": "word", "word_split": "unicode"},
    "subword": {"level": "subword"},
}

COLUMNS = ("level", "rate_mb_per_s", "wall_s", "again_s", "peak_mb", "vocab_size", "tokens")

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


def prepare(corpus: Path, level: str, cache: Path) -> dict[str, float]:
    """Prepare the corpus in this process, and tell how it went."""
    from llm_timecycle.config.settings import DataSettings, Settings, TokenizerSettings
    from llm_timecycle.text.prepare import prepare_text

    settings = Settings(
        data=DataSettings(train=str(corpus)),
        tokenizer=TokenizerSettings(**LEVELS[level]),  # type: ignore[arg-type]
    )
    start_s = time.perf_counter()
    text = prepare_text(settings, Path.cwd(), cache, show_progress=False)
    wall_s = time.perf_counter() - start_s
    streams = [stream for stream in (text.train, text.valid, text.test) if stream is not None]
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "wall_s": wall_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6,
        "vocab_size": text.tokenizer.vocab_size,
        "tokens": sum(stream.tokens for stream in streams),
        "store_mb": sum(stream.ids.nbytes for stream in streams) / 1e6,
    }


def call_child(*arguments: str) -> str:
    """The output of this script in a fresh process."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(level: str, corpus: Path, cache: Path) -> dict[str, str | float]:
    """The figures of one level: with an empty cache, and (`again_s`) with a full one."""
    size_mb = corpus.stat().st_size / 1e6
    first, again = (
        json.loads(call_child("--prepare", str(corpus), str(cache), "--level", level))
        for _ in range(2)
    )
    return {
        "level": level,
        "corpus_mb": size_mb,
        "rate_mb_per_s": size_mb / first["wall_s"],
        "again_s": again["wall_s"],
        **first,
    }


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000, metavar="N")
    parser.add_argument("--level", action="append", choices=LEVELS, dest="levels")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    # How the script calls itself, in processes of their own.
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run the benchmark, or one of its processes."""
    arguments = parse_arguments()
    if arguments.write:
        write_corpus(arguments.write, arguments.megabytes)
        return
    if arguments.prepare:
        corpus, cache = arguments.prepare
        print(json.dumps(prepare(corpus, arguments.levels[0], cache)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name) / "corpus.txt"
        print(f"generating {arguments.megabytes:,} MB of text ...", file=sys.stderr)
        # Not in this process: on Linux a child's peak memory begins at its parent's.
        call_child("--write", str(corpus), "--megabytes", str(arguments.megabytes))
        for level in arguments.levels or LEVELS:
            print(f"{level} ...", file=sys.stderr)
            rows.append(measure(level, corpus, Path(name) / f"cache-{level}"))
    if arguments.json:
        print(json.dumps({"rows": rows}, indent=2))
        return
    print("".join(f"{column:>15}" for column in COLUMNS))
    for row in rows:
        values = (row[column] for column in COLUMNS)
        print("".join(f"{v:>15,.1f}" if isinstance(v, float) else f"{v:>15}" for v in values))


if __name__ == "__main__":
    main()
