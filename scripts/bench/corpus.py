"""A large corpus, as much as the disk holds: time, memory, kill -9, and how many cores are worth.

    .venv/bin/python scripts/bench/corpus.py [--megabytes N] [--files N] [--format F]... [--level L]
        [--documents D] [--what W]... [--rounds N] [--directory DIR]

Writes a corpus of N megabytes (1,000 unless told) into DIR, spread over files of the formats, and
reports two things, as JSON; `--what` leaves one out:

killed      A fresh process prepares the text with an empty cache and gets kill -9 as soon as half
            of it is encoded; a second one goes on; a third one finds everything in the cache; and
            `llm-timecycle train` takes one step. `lost_characters` were encoded and are encoded
            again, as far as their ids had left the process. `peak_mb` is the largest sum of the
            PSS over a process and its workers, sampled (Linux): each page counts once, whoever
            shares it.
cores       One core and all cores prepare the text, one after the other, `--rounds` times; the
            medians, and how many times faster all cores are.

Rates are in megabytes of text, in UTF-8.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from corpus_texts import FORMATS, write_files
from encoding import list_family

ROOT = Path(__file__).resolve().parents[2]
LEVELS = {
    "char": {"level": "char", "vocab_size": 5000},
    "word": {"level": "word", "word_split": "whitespace"},
    "word-unicode": {"level": "word", "word_split": "unicode"},
    "subword": {"level": "subword"},
}
SECONDS_BETWEEN_SAMPLES = 0.25
STEP = {"batch_size": 64, "sequence_length": 50, "max_steps": 1}
TINY = {"embedding_dim": 16, "num_layers": 1, "hidden_units": 16}


def prepare(texts: Path, cache: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Prepare the corpus in this process, and tell how it went."""
    from llm_timecycle.config.settings import Settings
    from llm_timecycle.text import prepare as module

    module.SHARD_CHARACTERS = arguments.shard_characters
    settings = Settings.model_validate(write_settings(arguments, texts))
    start_s = time.perf_counter()
    text = module.prepare_text(settings, Path.cwd(), cache, show_progress=False)
    return {
        "wall_s": time.perf_counter() - start_s,
        "tokens": text.train.tokens,
        "text_mb": sum(s.bytes for s in (text.train, text.valid) if s is not None) / 1e6,
        "store_mb": (text.train.ids.nbytes + text.train.document_starts.nbytes) / 1e6,
        "sampled_characters": 0 if text.sample is None else text.sample.count_characters(),
    }


def write_settings(arguments: argparse.Namespace, texts: Path) -> dict[str, Any]:
    """The settings that read the corpus."""
    data = {"train": str(texts), "documents": arguments.documents}
    data |= {"valid_fraction": 0.01, "test_fraction": 0.0}
    return {"data": data, "tokenizer": LEVELS[arguments.level]}


def measure_pss_mb(process: int) -> float:
    """The memory of a process and its descendants, in proportion where pages are shared."""
    total_kb = 0
    for each in list_family(process):
        with suppress(OSError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total_kb += int(line.split()[1])
    return total_kb * 1024 / 1e6


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    output: str
    wall_s: float
    peak_mb: float


def call_child(
    command: list[str], *, cores: int | None = None, stop: Callable[[], bool] = lambda: False
) -> Ended:
    """Run a command; kill it with signal 9 once `stop` says so.

    Args:
        cores: how many it may use; None leaves all.

    Raises:
        CalledProcessError: it failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if cores is not None:
        some = sorted(os.sched_getaffinity(0))[:cores]
        command = ["taskset", "--cpu-list", ",".join(map(str, some)), *command]
    start_s, peak_mb, is_killed = time.perf_counter(), 0.0, False
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, env=environment)
        while process.poll() is None:
            peak_mb = max(peak_mb, measure_pss_mb(process.pid))
            if not is_killed and stop():
                process.send_signal(signal.SIGKILL)
                is_killed = True
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        wall_s = time.perf_counter() - start_s
        if process.returncode and not is_killed:
            raise subprocess.CalledProcessError(process.returncode, command)
        output.seek(0)
        return Ended(output.read(), wall_s, peak_mb)


def read_progress(cache: Path) -> dict[str, int]:
    """What of the training text is encoded and safe: characters, ids, and bytes of an id."""
    for path in cache.glob("tokens/.shards-*/progress.json"):
        with suppress(OSError, ValueError):
            manifest = json.loads(path.read_text())
            width = np.min_scalar_type(manifest["vocab_size"] - 1).itemsize
            return {**manifest["counts"], "width": width}
    return {"characters": 0, "tokens": 0, "width": 1}


def measure_killed(
    arguments: argparse.Namespace, texts: Path, place: Path
) -> Iterator[dict[str, Any]]:
    """The rows of `killed`."""
    cache = place / "cache"
    command = make_command(arguments, texts, cache)
    enough = arguments.megabytes * 1e6 * arguments.kill_at
    first = call_child(command, stop=lambda: read_progress(cache)["characters"] > enough)
    safe = read_progress(cache)
    written = sum(path.stat().st_size for path in cache.glob("tokens/.shards-*/ids.bin"))
    lost_ids = written / safe["width"] - safe["tokens"] - 1  # the first <eos> is not of the text
    yield {
        **{"run": "killed", "wall_s": first.wall_s, "peak_mb": first.peak_mb},
        "encoded_characters": safe["characters"],
        "lost_characters": round(lost_ids * safe["characters"] / max(safe["tokens"], 1)),
    }
    for name in ("gone on with", "again"):
        ended = call_child(command)
        figures = json.loads(ended.output)
        rate = figures["text_mb"] / figures["wall_s"]
        yield {"run": name, **figures, "rate_mb_per_s": rate, "peak_mb": ended.peak_mb}
    yield {"run": "one step of training", **train_one_step(arguments, texts, place)}


def train_one_step(arguments: argparse.Namespace, texts: Path, place: Path) -> dict[str, Any]:
    """One step of a small model, by the command, with the text in the cache."""
    settings = write_settings(arguments, texts) | {"model": TINY, "training": STEP}
    config = place / "config.yaml"
    config.write_text(json.dumps(settings))
    os.environ["LLM_TIMECYCLE_CACHE"] = str(place / "cache")
    command = [sys.executable, "-m", "llm_timecycle", "train", str(config)]
    ended = call_child([*command, "--run", str(place / "run")])
    manifest = json.loads((place / "run" / "manifest.json").read_text())
    sample = manifest["corpora"]["train"].get("vocabulary_sample")
    return {"wall_s": ended.wall_s, "peak_mb": ended.peak_mb, "vocabulary_sample": sample}


def measure_cores(arguments: argparse.Namespace, texts: Path, place: Path) -> dict[str, Any]:
    """The row of `cores`: one core and all, in turn."""
    found: dict[str, list[float]] = {"one": [], "all": []}
    text_mb = 0.0
    for number in range(arguments.rounds):
        for name, cores in (("one", 1), ("all", None)):
            with tempfile.TemporaryDirectory(dir=place) as cache:
                ended = call_child(make_command(arguments, texts, Path(cache)), cores=cores)
            figures = json.loads(ended.output)
            text_mb = figures["text_mb"]
            found[name].append(figures["wall_s"])
            tell(f"round {number + 1}, {name}: {figures['wall_s']:.1f} s")
    one_s, all_s = median(found["one"]), median(found["all"])
    return {
        **{"level": arguments.level, "text_mb": text_mb, "rounds": arguments.rounds},
        **{"one_core_s": one_s, "all_cores_s": all_s, "cores": len(os.sched_getaffinity(0))},
        **{"rate_mb_per_s": text_mb / all_s, "times_faster": one_s / all_s},
    }


def make_command(arguments: argparse.Namespace, texts: Path, cache: Path) -> list[str]:
    """This script, as the process that prepares."""
    how = ("--level", arguments.level, "--documents", arguments.documents)
    shard = ("--shard-characters", str(arguments.shard_characters))
    return [sys.executable, __file__, "--prepare", str(texts), str(cache), *how, *shard]


def tell(message: str) -> None:
    """Say what is going on, apart from the table."""
    print(message, file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000, metavar="N")
    parser.add_argument("--files", type=int, default=20, metavar="N")
    parser.add_argument("--format", action="append", choices=FORMATS, dest="formats")
    parser.add_argument("--level", choices=LEVELS, default="word")
    parser.add_argument("--documents", choices=("file", "line", "record"), default="file")
    parser.add_argument("--what", choices=("killed", "cores"), action="append")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--directory", type=Path, help="where there is room; a temporary one")
    parser.add_argument("--kill-at", type=float, default=0.5, help=argparse.SUPPRESS)
    parser.add_argument("--shard-characters", type=int, default=1 << 26, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run the benchmark, or one of its processes."""
    arguments = parse_arguments()
    if arguments.prepare:
        print(json.dumps(prepare(*arguments.prepare, arguments)))
        return
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        place, texts = Path(name), Path(name) / "texts"
        start_s = time.perf_counter()
        write_files(texts, arguments.megabytes, arguments.files, arguments.formats or ["txt"])
        tell(f"wrote {arguments.megabytes:,} MB in {time.perf_counter() - start_s:.0f} s")
        what = arguments.what or ["killed", "cores"]
        if "killed" in what:
            rows["killed"] = []
            for row in measure_killed(arguments, texts, place):
                tell(json.dumps(row))
                rows["killed"].append(row)
        if "cores" in what:
            rows["cores"] = measure_cores(arguments, texts, place)
            tell(json.dumps(rows["cores"]))
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
