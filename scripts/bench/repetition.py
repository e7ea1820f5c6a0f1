"""Which generation settings repeat as much as people do: trained runs x candidates.

    .venv/bin/python scripts/bench/repetition.py measure RUN... --points FILE [--samples N]
                                                 [--length N] [--seed N] [--only NAME]...
    .venv/bin/python scripts/bench/repetition.py table --points FILE

`measure` draws samples without a prompt from every run under every candidate, and appends a line of
JSON for each to FILE; what is there already is left out. Beside them stand windows of the run's
validation text, as many and as long. The figures are those of `evaluation/repetition.py`:

- repetition: the share of 4-grams that occurred in the same sample before, mean over the samples;
  of held-out text, mean over as many windows, evenly spaced (they overlap where it is short)
- distinct-2: of the windows that do not overlap, and of as many samples

`table` writes them as Markdown: for each run, repetition and distinct-2, each over that of held-out
text, so that 1 is what people do. The candidates are in order of their distance from it, the mean
over the runs and both figures of |log ratio|. `own` are the settings that the run has itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from math import exp, log
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

import llm_timecycle as lt
from llm_timecycle.evaluation.repetition import measure_distinct, measure_repetition
from llm_timecycle.generation.api import Model
from llm_timecycle.runs.text_paths import find_texts
from llm_timecycle.text.cache import open_cache
from llm_timecycle.text.prepare import prepare_text
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

OWN = "own"
DRY_ALLOWED = {
    **{"word": (2, 4), "subword": (3, 6), "char": (8, 16), "byte": (8, 16)},
    "CJK": (4, 8),  # characters too, of which a word has one or two
}
NGRAMS = {
    **{"word": (3, 5), "subword": (4, 8), "char": (12, 24), "byte": (12, 24)},
    "CJK": (6, 12),
}
NEUTRAL: dict[str, Any] = {
    **{"top_k": None, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0, "xtc_probability": 0.0},
    **{"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    **{"dry_multiplier": 0.0, "no_repeat_ngram": 0},
}
"""No filter, whatever the run has itself."""
LEAST_REPETITION = 0.001
"""Below this a share of 4-grams is as good as none, and no ratio is larger than over it."""


def list_candidates(kind: str) -> dict[str, dict[str, Any]]:
    """Settings by name, for a run of this kind (`name_kind`); lengths are in its tokens."""
    candidates: dict[str, dict[str, Any]] = {}
    for temperature in (0.5, 0.7, 0.8, 0.9, 1.0):
        candidates[f"temperature {temperature}"] = {"temperature": temperature}
    for temperature in (0.7, 0.8, 0.9, 1.0):
        hot = {"temperature": temperature}
        for p in (0.9, 0.95):
            candidates[f"{temperature}, top-p {p}"] = {**hot, "top_p": p}
        for p in (0.05, 0.1):
            candidates[f"{temperature}, min-p {p}"] = {**hot, "min_p": p}
        for which, allowed in zip(("short", "long"), DRY_ALLOWED[kind], strict=True):
            dry = {"dry_multiplier": 0.8, "dry_allowed_length": allowed}
            candidates[f"{temperature}, DRY {which}"] = {**hot, **dry}
        for which, n in zip(("short", "long"), NGRAMS[kind], strict=True):
            candidates[f"{temperature}, no repeat {which}"] = {**hot, "no_repeat_ngram": n}
    for penalty in (1.05, 1.1, 1.2):
        changes = {"temperature": 0.8, "repetition_penalty": penalty}
        candidates[f"0.8, repetition penalty {penalty}"] = changes
    candidates["0.8, presence penalty 0.3"] = {"temperature": 0.8, "presence_penalty": 0.3}
    candidates["0.8, frequency penalty 0.2"] = {"temperature": 0.8, "frequency_penalty": 0.2}
    candidates["1.0, XTC"] = {"temperature": 1.0, "xtc_probability": 0.5}
    return {OWN: {}, **{name: {**NEUTRAL, **changes} for name, changes in candidates.items()}}


def name_kind(tokenizer: Tokenizer) -> str:
    """The tokenizer's level, or CJK where most tokens are single Chinese characters."""
    shown = [tokenizer.token(id) for id in range(tokenizer.vocab_size)]
    chinese = sum(len(token) == 1 and "\u4e00" <= token <= "\u9fff" for token in shown)
    return "CJK" if 2 * chinese > len(shown) else tokenizer.settings.level


def read_held_out(model: Model) -> np.ndarray:
    """The ids of the run's validation text."""
    settings = model.settings
    data = find_texts(settings.data, model.run.path, "train it again")
    settings = settings.model_copy(update={"data": data})
    with open_cache() as cache:
        text = prepare_text(settings, Path.cwd(), cache, False, tokenizer=model.tokenizer)
    if text.valid is None:
        raise SystemExit(f"{model.run.path} has no validation text to compare with")
    return np.asarray(text.valid.ids)


def measure_windows(ids: np.ndarray, count: int, length: int) -> dict[str, float]:
    """The figures of held-out text; `apart` windows do not overlap."""
    starts = np.linspace(0, max(len(ids) - length, 0), count).astype(int)
    apart = min(count, len(ids) // length)
    tiles = [ids[start * length :][:length].tolist() for start in range(apart)]
    windows = [ids[start:][:length].tolist() for start in starts]
    return {
        "repetition": mean(map(measure_repetition, windows)),
        "distinct_2": measure_distinct(tiles, 2),
        "apart": apart,
    }


def measure_samples(
    model: Model, changes: Mapping[str, Any], samples: int, length: int, seed: int, apart: int
) -> dict[str, float]:
    """The figures of samples under some settings."""
    began = time.perf_counter()
    texts = model.generate("", samples=samples, **{"length": length, "seed": seed, **changes})
    spent_s = time.perf_counter() - began
    ids = [text.ids for text in texts]
    return {
        "repetition": mean(map(measure_repetition, ids)),
        "distinct_2": measure_distinct(ids[:apart], 2),
        "tokens_per_s": sum(map(len, ids)) / spent_s,
    }


def measure(file: Path, runs: Sequence[str], asked: argparse.Namespace) -> None:
    """Append the figures that are missing to the file of points."""
    known = {(point["run"], point["candidate"]) for point in read_points(file)}
    for path in runs:
        model = lt.load(path, engine="numpy")
        kind = name_kind(model.tokenizer)
        held_out = measure_windows(read_held_out(model), asked.samples, asked.length)
        for name, changes in list_candidates(kind).items():
            if (path, name) in known or (asked.only and name not in asked.only):
                continue
            print(f"{path}: {name} ...", file=sys.stderr)
            apart = int(held_out["apart"])
            found = measure_samples(model, changes, asked.samples, asked.length, asked.seed, apart)
            point = {
                "run": path,
                "kind": kind,
                "candidate": name,
                "settings": changes,
                "samples": asked.samples,
                "length": asked.length,
                "seed": asked.seed,
                "held_out": held_out,
                **found,
            }
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(point) + "\n")


def read_points(file: Path) -> list[dict[str, Any]]:
    """The points measured so far."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def compute_ratios(point: Mapping[str, Any]) -> tuple[float, float]:
    """Repetition and distinct-2, each over that of held-out text.

    >>> held_out = {"repetition": 0.1, "distinct_2": 0.5}
    >>> compute_ratios({"repetition": 0.2, "distinct_2": 0.25, "held_out": held_out})
    (2.0, 0.5)
    """
    held_out = point["held_out"]
    repetition = max(point["repetition"], LEAST_REPETITION)
    return (
        repetition / max(held_out["repetition"], LEAST_REPETITION),
        point["distinct_2"] / held_out["distinct_2"],
    )


def measure_distance(points: Sequence[Mapping[str, Any]]) -> float:
    """How far candidates are from held-out text: the mean |log ratio|, as a factor, at least 1."""
    return exp(mean(abs(log(ratio)) for point in points for ratio in compute_ratios(point)))


def write_table(points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The lines of a Markdown table, the candidates that are nearest to held-out text first."""
    runs = list(dict.fromkeys(point["run"] for point in points))
    by_name: dict[str, dict[str, Mapping[str, Any]]] = {}
    for point in points:
        by_name.setdefault(point["candidate"], {})[point["run"]] = point
    whole = {name: found for name, found in by_name.items() if len(found) == len(runs)}
    yield "| | " + " | ".join(f"{Path(run).name}" for run in runs) + " | distance |"
    yield "| --- |" + " --- |" * (len(runs) + 1)
    held_out = [next(p["held_out"] for p in points if p["run"] == run) for run in runs]
    cells = [f"{text['repetition']:.3f}, {text['distinct_2']:.3f}" for text in held_out]
    yield f"| held-out text: repetition, distinct-2 | {' | '.join(cells)} | |"
    for name in sorted(whole, key=lambda name: measure_distance(list(whole[name].values()))):
        found = whole[name]
        ratios = [compute_ratios(found[run]) for run in runs]
        cells = [f"{repetition:.2f}, {distinct:.2f}" for repetition, distinct in ratios]
        distance = measure_distance(list(found.values()))
        yield f"| {name} | {' | '.join(cells)} | {distance:.2f} |"


def main() -> None:
    """Measure, or write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("runs", nargs="+")
    measuring.add_argument("--samples", type=int, default=100)
    measuring.add_argument("--length", type=int, default=200)
    measuring.add_argument("--seed", type=int, default=1)
    measuring.add_argument("--only", action="append", default=[])
    for command in (measuring, commands.add_parser("table")):
        command.add_argument("--points", type=Path, required=True)
    asked = parser.parse_args()
    if asked.command == "measure":
        measure(asked.points, asked.runs, asked)
    else:
        print("\n".join(write_table(read_points(asked.points))))


if __name__ == "__main__":
    main()
