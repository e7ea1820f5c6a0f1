"""How fast a text is prepared, and in how much memory: the whole of `prepare_text`, by level.

    .venv/bin/python scripts/bench/encoding.py [--megabytes N] [--level LEVEL]... [--format F]...
        [--against CHECKOUT] [--rounds N] [--json]

`encoding_texts.py` generates a corpus of N megabytes (1,000 unless told), as `.txt`, `.jsonl` or
`.zst`. Rates are in megabytes of the text itself, in UTF-8.

For each level a fresh process reads it, splits it, trains the tokenizer and encodes the three parts
into an empty cache; then another one does it again, with all in the cache (`again_s`). With
`--against`, another checkout of the program does the same in turn, round by round, with the same
interpreter; the table has the medians. Peak memory is the largest sum over the process and its
workers, sampled (Linux), or that of the process alone as the system saw it (elsewhere).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

LEVELS = {
    "char": {"level": "char", "vocab_size": 5000},
    "byte": {"level": "byte"},
    "word": {"level": "word", "word_split": "whitespace"},
    "word-unicode": {"level": "word", "word_split": "unicode"},
    "subword": {"level": "subword"},
}

DATA = {"txt": {}, "jsonl": {"documents": "record", "field": "text"}, "zst": {}}
"""The settings that read each format."""
SECONDS_BETWEEN_SAMPLES = 0.02

COLUMNS = (
    *("level", "format", "program", "rate_mb_per_s", "wall_s", "again_s", "peak_mb"),
    *("vocab_size", "tokens"),
)


def prepare(corpus: Path, level: str, kind: str, cache: Path) -> dict[str, float]:
    """Prepare the corpus in this process, and tell how it went."""
    from llm_timecycle.config.settings import Settings
    from llm_timecycle.text.prepare import prepare_text

    sections = {"data": {"train": str(corpus), **DATA[kind]}, "tokenizer": LEVELS[level]}
    settings = Settings.model_validate(sections)
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
        "text_mb": sum(stream.bytes for stream in streams) / 1e6,
        "store_mb": sum(stream.ids.nbytes for stream in streams) / 1e6,
    }


def list_family(process: int) -> Iterator[int]:
    """A process and its descendants, as Linux lists them."""
    yield process
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from list_family(int(child))


def measure_memory_mb(process: int) -> float:
    """The memory that a process and its descendants hold now; 0 where there is no /proc."""
    pages = 0
    for each in list_family(process):
        with suppress(OSError):
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def call_child(checkout: Path, *arguments: str) -> tuple[str, float]:
    """The output of this script in a fresh process, with a program, and the peak of its memory.

    Raises CalledProcessError, with the last line of its messages, if it fails.
    """
    command = [sys.executable, __file__, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    peak_mb = 0.0
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as messages:
        process = subprocess.Popen(command, stdout=output, stderr=messages, env=environment)
        while process.poll() is None:
            peak_mb = max(peak_mb, measure_memory_mb(process.pid))
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        output.seek(0)
        messages.seek(0)
        if process.returncode:
            last = messages.read().strip().rpartition("\n")[2]
            raise subprocess.CalledProcessError(process.returncode, command, stderr=last)
        return output.read(), peak_mb


def measure(checkout: Path, level: str, kind: str, corpus: Path, text_mb: float) -> dict[str, Any]:
    """The figures of one program: with an empty cache, and (`again_s`) with a full one.

    Raises ValueError if the program does not read this kind of file.
    """
    with tempfile.TemporaryDirectory(dir=corpus.parent) as cache:
        arguments = ("--prepare", str(corpus), cache, "--level", level, "--format", kind)
        try:
            (first, peak_mb), (again, _) = (call_child(checkout, *arguments) for _ in range(2))
        except subprocess.CalledProcessError as error:
            raise ValueError(error.stderr) from None
    figures = json.loads(first)
    if figures["text_mb"] > 1.001 * text_mb:  # the marks of the format are not text
        raise ValueError(f"{corpus.name} is read as {figures['text_mb']:,.0f} MB of text")
    figures["peak_mb"] = max(peak_mb, figures["peak_mb"])
    rate = {"rate_mb_per_s": text_mb / figures["wall_s"], "again_s": json.loads(again)["wall_s"]}
    return {"level": level, "format": kind, "program": checkout.name, **figures, **rate}


def take_median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """One row for the rounds of one program."""
    middle = {
        key: median(row[key] for row in rounds)
        for key, value in rounds[0].items()
        if isinstance(value, float)
    }
    return {**rounds[0], **middle, "rounds": len(rounds)}


def compare(
    checkouts: list[Path], levels: list[str], corpora: dict[str, Path], text_mb: float, rounds: int
) -> Iterator[dict[str, Any]]:
    """The rows of the table: for each level and format, each program in turn, round by round."""
    for level in levels:
        for kind, corpus in corpora.items():
            measured: dict[Path, list[dict[str, Any]]] = {}
            able = list(checkouts)
            for number in range(rounds):
                for checkout in list(able):
                    tell(f"{level}, {kind}, {checkout.name}, round {number + 1} of {rounds} ...")
                    try:
                        row = measure(checkout, level, kind, corpus, text_mb)
                    except ValueError as problem:
                        tell(f"skipped: {problem}")
                        able.remove(checkout)
                    else:
                        measured.setdefault(checkout, []).append(row)
            yield from map(take_median, measured.values())


def tell(message: str) -> None:
    """Say what is going on, apart from the table."""
    print(message, file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000, metavar="N")
    parser.add_argument("--level", action="append", choices=LEVELS, dest="levels")
    parser.add_argument("--format", action="append", choices=DATA, dest="formats")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout")
    parser.add_argument("--rounds", type=int, default=1, metavar="N")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    # How the script calls itself, in processes of their own.
    parser.add_argument("--prepare", type=Path, nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run the benchmark, or one of its processes."""
    arguments = parse_arguments()
    levels, kinds = arguments.levels or list(LEVELS), arguments.formats or ["txt"]
    if arguments.prepare:
        corpus, cache = arguments.prepare
        print(json.dumps(prepare(corpus, levels[0], kinds[0], cache)))
        return
    checkouts = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
    with tempfile.TemporaryDirectory() as name:
        # Not in this process: on Linux a child's peak memory begins at its parent's.
        writer = [sys.executable, str(ROOT / "scripts/bench/encoding_texts.py"), name]
        subprocess.run([*writer, str(arguments.megabytes), *kinds], check=True)
        corpora = {path.suffix[1:]: path for path in Path(name).iterdir()}
        text_mb = corpora["txt"].stat().st_size / 1e6
        corpora = {kind: corpora[kind] for kind in kinds if kind in corpora}
        rows = list(compare(checkouts, levels, corpora, text_mb, arguments.rounds))
    if arguments.json:
        print(json.dumps({"rows": rows}, indent=2))
        return
    print("".join(f"{column:>15}" for column in COLUMNS))
    for row in rows:
        values = (row[column] for column in COLUMNS)
        print("".join(f"{v:>15,.1f}" if isinstance(v, float) else f"{v:>15}" for v in values))


if __name__ == "__main__":
    main()
