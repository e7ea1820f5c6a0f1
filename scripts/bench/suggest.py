"""How good the settings are that `train TEXT` chooses, beside a fixed grid and the shipped ones.

    .venv/bin/python scripts/bench/suggest.py measure TEXT... --points FILE [--minutes M]...
                                                              [--only NAME]... [--set KEY=VALUE]...
                                                              [--gflops G]
    .venv/bin/python scripts/bench/suggest.py check --points FILE

`measure` trains every candidate (the suggestion, each entry of `GRID`, the shipped settings) on
every text for equal times, each in a new process, scores it on the same held-out text, and appends
a line of JSON a run to FILE; runs that are there already are left out, and so are candidates that a
text is too short for. With `--gflops`, the minutes are those of an imagined machine with two cores
whose matrix products run at that rate: each candidate gets the steps that `predict_step_s` says
would fit there, so that other work on this machine changes nothing. `check` compares the suggestion
with the best of the grid, which it may miss by 2% in bits a byte, and its mean with that of each of
the shipped settings. A budget that was not measured for a candidate comes from its curve over the
others, a straight line in the logarithm of the minutes, and is marked with ~.
`fit_loss_curve.py` learns from the same points. For the sizes that are chosen for words: `--set
tokenizer.level=word`, `--only` with the suggestion and the words of the grid, and a separate FILE.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from math import log
from pathlib import Path
from statistics import mean
from typing import Any

from llm_timecycle.config.dump import dump_settings
from llm_timecycle.config.load import check_sources, list_given, read_settings
from llm_timecycle.config.locate import list_shipped_names
from llm_timecycle.config.python_values import PythonValues
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.sources import Override
from llm_timecycle.text.corpus import open_corpus
from llm_timecycle.text.survey import TextFacts, survey_text
from llm_timecycle.training.suggest.calibration import (
    SHORTEST_TRAINING_SHARE,
    START_UP_S,
    VALIDATION_SHARE,
)
from llm_timecycle.training.suggest.choices import Choices
from llm_timecycle.training.suggest.choose import choose
from llm_timecycle.training.suggest.choose_tokens import SPECIAL_TOKENS, count_training_tokens
from llm_timecycle.training.suggest.predict import (
    MachineSpeed,
    count_lstm_weights,
    count_product_weights,
    predict_step_s,
)

PROGRAM = (sys.executable, "-m", "llm_timecycle")
ALLOWED = 1.02
"""Bits a byte of the suggestion over those of the best of the grid, at most."""
HELD_OUT = ("data.valid_fraction=0.1", "data.test_fraction=0.0")
"""The same for every candidate, or their scores would not compare."""
RECIPE = ("training.optimizer=nadam", "training.schedule=linear", "training.warmup_steps=50")
GRID = {
    f"{level} H{H} dropout {dropout}": (
        *RECIPE,
        f"tokenizer.level={level}",
        f"tokenizer.vocab_size={vocabulary}",
        f"model.hidden_units={H}",
        f"model.embedding_dim={E}",
        f"model.tie_embeddings={json.dumps(tied)}",
        f"model.dropout={dropout}",
        f"training.sequence_length={T}",
    )
    for level, vocabulary, tied, T, sizes in (
        ("char", 4_000, False, 32, ((128, 64), (256, 128), (512, 256), (768, 384))),
        ("subword", 4_000, True, 16, ((256, 256), (512, 512))),
        ("word", 10_000, True, 16, ((256, 256), (512, 512))),
    )
    for (H, E), dropout in itertools.product(sizes, (0.0, 0.2, 0.5))
}
SUGGESTION = "suggestion"
VALIDATIONS = 20
"""Of a run on an imagined machine; a budget of minutes has as many at most."""
NONE_GIVEN = frozenset[str]()
"""`Choices.read` takes what is not chosen from the settings."""
TOO_SHORT = 4
"""The exit code where a text does not fit."""


def list_candidates() -> list[str]:
    """The suggestion, the grid, the shipped settings."""
    return [SUGGESTION, *GRID, *list_shipped_names()]


def train(
    text: str, name: str, minutes: float, extra: Sequence[str], speed: MachineSpeed | None = None
) -> dict[str, Any]:
    """Train one candidate on a text and score it.

    Args:
        speed: of an imagined machine, whose minutes are meant; None for this one's.
    """
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        spec = str(Path(text).resolve()) if Path(text).exists() else text
        source, overrides, length = text, [*HELD_OUT, *extra], ["--minutes", f"{minutes:g}"]
        if name != SUGGESTION:
            source = name if name in list_shipped_names() else "small"
            overrides = [f"data.train={spec}", *GRID.get(name, ()), *overrides]
        if speed is not None:
            facts = survey_text(open_corpus(spec, Path.cwd(), Path(place)))
            if name == SUGGESTION:
                source = f"{place}/suggestion.yaml"
                settings = _choose(facts, minutes, [f"data.train={spec}", *overrides], speed)
                Path(source).write_text(dump_settings(settings))
            overrides += _imagine(source, overrides, facts, minutes, speed)
            length = []
        sets = [word for each in overrides for word in ("--set", each)]
        _call("train", source, *length, "--run", str(run), *sets)
        scores = json.loads(_call("evaluate", str(run), "--json"))
        settings = read_settings(run / "config.yaml").settings
        manifest = json.loads((run / "manifest.json").read_text())
        last = (run / "metrics.csv").read_text().splitlines()
        end = dict(zip(last[0].split(","), last[-1].split(","), strict=True))
    return {
        "text": text,
        "candidate": name,
        "minutes": minutes,
        "level": settings.tokenizer.level,
        "hidden_units": settings.model.hidden_units,
        "dropout": settings.model.dropout,
        "lstm_weights": count_lstm_weights(settings.model),
        "product_weights": count_product_weights(settings.model, manifest["vocab_size"]),
        "text_tokens": manifest["corpora"]["train"]["tokens"],
        "tokens": float(end["tokens"]),
        "wall_s": float(end["wall_s"]),
        "loss_nats": scores["loss_nats_per_token"],
        "bits_per_byte": scores["bits_per_byte_with_spelling"],
    }


def _choose(
    facts: TextFacts, minutes: float, overrides: Sequence[str], speed: MachineSpeed
) -> Settings:
    """What `train TEXT --minutes` would choose on a machine of that speed."""
    sources = [Override(each) for each in (*overrides, f"training.minutes={minutes:g}")]
    fixed = check_sources(sources, facts.name)
    given = list_given(sources) - {"training.minutes"}
    values = choose(facts, speed, fixed, given).values
    return check_sources([PythonValues(values, "the suggestion"), *sources[:-1]], facts.name)


def _imagine(
    source: str, overrides: Sequence[str], facts: TextFacts, minutes: float, speed: MachineSpeed
) -> list[str]:
    """The length of a run of some minutes on an imagined machine, as KEY=VALUE."""
    settings = read_settings(source, overrides).settings
    training, V = settings.training, settings.tokenizer.vocab_size
    if settings.tokenizer.level == "char":
        V = min(V, facts.distinct_characters + SPECIAL_TOKENS)
    B, T = training.batch_size, training.sequence_length
    time_s = 60 * minutes * (1 - VALIDATION_SHARE) - START_UP_S
    time_s = max(time_s, 60 * minutes * SHORTEST_TRAINING_SHARE)
    steps = int(time_s / predict_step_s(settings.model, V, B, T, speed))
    if source.endswith("suggestion.yaml") and training.minutes is None:  # it chose epochs
        tokens = count_training_tokens(facts, Choices(settings, NONE_GIVEN))
        steps = min(steps, round(training.epochs * tokens / (B * T)))
    return [
        "training.minutes=null",
        "training.epochs=100000",
        f"training.max_steps={max(steps, 1)}",
        f"training.eval_every={max(steps // VALIDATIONS, 1)}",
    ]


def _call(*arguments: str) -> str:
    command = [*PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def measure(
    file: Path,
    texts: list[str],
    minutes: list[float],
    names: list[str],
    extra: list[str],
    speed: MachineSpeed | None,
) -> None:
    """Append the runs that are missing to the file of points."""
    known = {(p["text"], p["candidate"], p["minutes"]) for p in read_points(file)}
    for text, budget, name in itertools.product(texts, minutes, names):
        if (text, name, budget) in known:
            continue
        print(f"{text}: {name}, {budget:g} min ...", file=sys.stderr)
        try:
            point = train(text, name, budget, extra, speed)
        except subprocess.CalledProcessError as error:
            if name == SUGGESTION or error.returncode != TOO_SHORT:
                sys.exit(f"{error}\n{error.stderr[-2000:]}")
            print("the text is too short for it", file=sys.stderr)
            continue
        with file.open("a") as points:
            points.write(json.dumps(point) + "\n")


def read_points(file: Path) -> list[dict[str, Any]]:
    """The points of a file; none where there is none."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


def estimate(points: Sequence[dict[str, Any]], minutes: float) -> tuple[float, bool] | None:
    """Bits a byte of one candidate on one text after some minutes, and whether it was measured.

    Where it was not: the straight line in log(minutes) through the two nearest budgets; None with
    fewer than two.
    """
    by_minutes = {point["minutes"]: point["bits_per_byte"] for point in points}
    if minutes in by_minutes:
        return by_minutes[minutes], True
    near = sorted(by_minutes, key=lambda each: abs(log(each / minutes)))[:2]
    if len(near) < 2:
        return None
    (x0, y0), (x1, y1) = ((log(each), by_minutes[each]) for each in near)
    return y0 + (y1 - y0) * (log(minutes) - x0) / (x1 - x0), False


def check(points: list[dict[str, Any]]) -> bool:
    """Print the table; whether the suggestion holds everywhere."""
    rows, shipped = list(compare(points)), list_shipped_names()
    head = f"{'text':28} {'min':>5} {'suggested':>10} {'best of the grid':>34} {'over it':>8}"
    print(head + "".join(f" {name:>9}" for name in shipped))
    for row in rows:
        best = f"{row['best']} {row['grid']:.4f}"
        others = "".join(f" {row.get(name, float('nan')):9.4f}" for name in shipped)
        print(
            f"{row['text'][-28:]:28} {row['minutes']:5g} {row['suggested']:10.4f} "
            f"{best:>34} {row['ratio']:8.3f}{others}"
            f"{'  MISSED' if row['ratio'] > ALLOWED else ''}"
        )
    held = sum(row["ratio"] <= ALLOWED for row in rows)
    print(f"{held} of {len(rows)} within {100 * ALLOWED - 100:.0f}%")
    is_better = True
    for name in shipped:
        pairs = [(row["suggested"], row[name]) for row in rows if name in row]
        if pairs:
            ours, its = (mean(column) for column in zip(*pairs, strict=True))
            is_better &= ours < its
            print(f"mean of {len(pairs)}: {ours:.4f} bits a byte; {name}: {its:.4f}")
    return bool(rows) and held == len(rows) and is_better


def compare(points: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each text and budget: the suggestion, the best of the grid, the shipped ones."""
    by_candidate: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for point in points:
        by_candidate.setdefault((point["text"], point["candidate"]), []).append(point)
    for text, minutes in sorted({(point["text"], point["minutes"]) for point in points}):
        bits = {}
        for name in list_candidates():
            found = estimate(by_candidate.get((text, name), []), minutes)
            if found is not None:
                bits[name] = found
        grid = {name: bits[name] for name in GRID if name in bits}
        if SUGGESTION not in bits or not grid:
            continue
        best = min(grid, key=lambda name: grid[name][0])
        suggested = bits[SUGGESTION][0]
        yield {
            "text": text,
            "minutes": minutes,
            "suggested": suggested,
            "best": best + ("" if grid[best][1] else " ~"),
            "grid": grid[best][0],
            "ratio": suggested / grid[best][0],
            **{name: bits[name][0] for name in list_shipped_names() if name in bits},
        }


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=("measure", "check"))
    parser.add_argument("texts", nargs="*", help="files, directories, globs, or built-in names")
    parser.add_argument("--points", type=Path, required=True, help="JSON lines, one a run")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0])
    parser.add_argument("--only", nargs="+", default=list_candidates(), choices=list_candidates())
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for all runs")
    parser.add_argument("--gflops", type=float, help="minutes of an imagined machine")
    given = parser.parse_args()
    if given.action == "measure":
        speed = given.gflops and MachineSpeed("auto", 1e9 * given.gflops, cores=2)
        measure(given.points, given.texts, given.minutes, given.only, given.set, speed)
    else:
        sys.exit(not check(read_points(given.points)))


if __name__ == "__main__":
    main()
