"""Use one run and one cache from many processes at once, and check what each of them ends with.

    .venv/bin/python scripts/use_at_once.py [--rounds N] [--seed S]

In every round, three trainings of one text begin together without a cache: two of them into the
same run. While they write new best weights and a new checkpoint after every step, twenty
`generate` and two `evaluate` read the run at moments drawn by the seed.

One of the two that train the same run must be refused by name, the other two trainings must end
with the weights of a training that was left alone, and the cache must hold what that one cached.
Each text and each score must be that of the weights of one step, whole, or the command must say
that there are no weights yet.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boundaries.processes import start, wait
from boundaries.recording import import_program, run_command

TEXT = Path(__file__).parent.parent / "data" / "english.txt"
SETTINGS = """\
data: {train: text.txt, valid_fraction: 0.1, test_fraction: 0}
tokenizer: {level: subword, vocab_size: 300}
model: {embedding_dim: 4, hidden_units: 8, num_layers: 1}
training:
  {batch_size: 4, sequence_length: 8, max_steps: 12, eval_every: 1, checkpoint_every: 1,
   keep_checkpoints: 1, log_every: 1, schedule: constant, warmup_steps: 1, learning_rate: 0.1,
   patience: null, precision: float32, threads: 1}
"""
STEPS = 12
GENERATIONS, EVALUATIONS = 20, 2
LONGEST_S = 300
RUN, OTHER = "runs/my", "runs/other"
GENERATE = ["generate", RUN, "--prompt", "The ", "--temperature", "0", "--length", "40"]
EVALUATE = ["evaluate", RUN, "--json"]
TOO_EARLY = ("has no trained weights yet", "there is no run at")
REFUSED = ("is being trained by another process", "exists already")


@dataclass
class Job:
    """A command in another process."""

    arguments: Sequence[str]
    log: Path
    process: int
    exit_code: int | None = None

    def finish(self) -> str:
        """Wait for its end; what it wrote."""
        if self.exit_code is None:
            self.exit_code = wait(self.process)
        return self.log.read_text(encoding="utf-8")


@dataclass
class Truth:
    """What a training that was left alone ends with, and what its weights give at each step."""

    weights: bytes
    cached: list[bytes]
    texts: dict[str, int] = field(default_factory=dict)
    """The step of each."""
    scores: dict[float, int] = field(default_factory=dict)


def begin(arguments: Sequence[str], place: Path, name: str) -> Job:
    """Start `llm-timecycle` in a directory; what it writes goes to `name`.log."""
    log = place / f"{name}.log"
    return Job(arguments, log, start(lambda: run_command(arguments, place), log, LONGEST_S))


def prepare(place: Path) -> Path:
    """A directory with a text and settings."""
    place.mkdir()
    (place / "text.txt").write_bytes(TEXT.read_bytes()[:20_000])
    (place / "tiny.yaml").write_text(SETTINGS)
    return place


def learn_truth(place: Path) -> Truth:
    """Train alone, step by step, and note what each step's weights give."""
    prepare(place)
    truth = Truth(b"", [])
    for step in range(1, STEPS + 1):
        way = ["runs/my", "--resume"] if step > 1 else ["tiny.yaml", "--run", RUN]
        job = begin(["train", *way, "--set", f"training.max_steps={step}"], place, "train")
        output = job.finish()
        if job.exit_code != 0:
            raise RuntimeError(output)
        truth.texts.setdefault(_read_text(begin(GENERATE, place, "text").finish()), step)
        truth.scores.setdefault(_read_score(begin(EVALUATE, place, "score").finish()), step)
    truth.weights = (place / RUN / "model.safetensors").read_bytes()
    truth.cached = read_cache(place)
    return truth


def read_cache(place: Path) -> list[bytes]:
    """What the cache holds of the text; its names and its manifests also tell of the place."""
    paths = (path for path in (place / "cache").rglob("*") if path.is_file())
    return sorted(
        path.read_bytes()
        for path in paths
        if path.name != "manifest.json" and path.suffix != ".lock"
    )


def _read_text(output: str) -> str:
    """The generated text; what else was printed goes before it."""
    at = output.rfind("The ")
    return output[at:] if at >= 0 else ""


def _read_score(output: str) -> float:
    start = output.find("{")
    return float(json.loads(output[start:])["loss_nats_per_token"]) if start >= 0 else -1.0


def play_round(place: Path, truth: Truth, draw: random.Random, counts: Counter[str]) -> list[str]:
    """One round; what was wrong in it."""
    prepare(place)
    trainings = [
        begin(["train", "tiny.yaml", "--run", run], place, f"train-{number}")
        for number, run in enumerate((RUN, RUN, OTHER))
    ]
    latest_s = time.perf_counter() + LONGEST_S
    while not (place / RUN / "manifest.json").exists() and time.perf_counter() < latest_s:
        time.sleep(0.01)
    readers: list[Job] = []
    orders = [GENERATE] * GENERATIONS + [EVALUATE] * EVALUATIONS
    draw.shuffle(orders)
    for number, arguments in enumerate(orders):
        readers.append(begin(arguments, place, f"reader-{number}"))
        time.sleep(draw.uniform(0, 0.15))
    wrong = [fault for job in readers if (fault := judge_reader(job, truth, counts))]
    return wrong + judge_trainings(trainings, place, truth, counts)


def judge_reader(job: Job, truth: Truth, counts: Counter[str]) -> str:
    """What is wrong with how a command that only reads has ended; "" for nothing."""
    output = job.finish()
    kind = job.arguments[0]
    if job.exit_code == 5 and any(words in output for words in TOO_EARLY):
        counts[f"{kind}: no weights yet"] += 1
        return ""
    is_generation = kind == "generate"
    step = (
        truth.texts.get(_read_text(output))
        if is_generation
        else truth.scores.get(_read_score(output))
    )
    if job.exit_code != 0 or step is None:
        return f"{kind} ended with {job.exit_code}: {output[-500:]}"
    counts[f"{kind}: of one step"] += 1
    return ""


def judge_trainings(
    jobs: Sequence[Job], place: Path, truth: Truth, counts: Counter[str]
) -> list[str]:
    """What is wrong with the three trainings."""
    outputs = [job.finish() for job in jobs]
    wrong = []
    if sorted(job.exit_code or 0 for job in jobs[:2]) != [0, 5] or jobs[2].exit_code != 0:
        found = [(job.exit_code, out[-300:]) for job, out in zip(jobs, outputs, strict=True)]
        return [f"trainings ended with {found}"]
    refusal = outputs[0] if jobs[0].exit_code == 5 else outputs[1]
    if not any(words in refusal for words in REFUSED):
        wrong.append(f"refused without a reason: {refusal[-300:]}")
    counts["train: refused by name"] += 1
    for run in (RUN, OTHER):
        if (place / run / "model.safetensors").read_bytes() != truth.weights:
            wrong.append(f"{run} ended with other weights")
        else:
            counts["train: the same weights"] += 1
    if read_cache(place) != truth.cached:
        wrong.append("the cache holds something else")
    return wrong


def main() -> int:
    """Play the rounds, print what came of them; 0 where nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="draws the moments")
    asked = parser.parse_args()
    import_program()
    draw, counts, wrong = random.Random(asked.seed), Counter[str](), 0
    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        truth = learn_truth(Path(name).resolve() / "alone")
        for number in range(asked.rounds):
            place = Path(name).resolve() / str(number)
            for fault in play_round(place, truth, draw, counts):
                wrong += 1
                print(f"round {number}: {fault}", flush=True)
    print(f"{asked.rounds} rounds in {time.perf_counter() - began_s:.0f} s, {wrong} wrong")
    print(f"texts of {len(truth.texts)} steps, scores of {len(truth.scores)}")
    for kind, count in sorted(counts.items()):
        print(f"{count:>7,}  {kind}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
