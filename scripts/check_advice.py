"""Whether following the advice saves what it says: each within a factor of 2, or this fails.

    .venv/bin/python scripts/check_advice.py [--set KEY=VALUE]... [--vocab-size V] [--rounds N]
        [--only WORD]

A step of the reference model with a quarter of its tokens, in float32 on one thread (with `--set`,
another one), is profiled on random tokens. Then every piece of advice that changes settings is
followed: steps with and without the change are timed in fresh processes, in turn, and what is saved
is set beside what was promised.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from llm_timecycle.config.load import read_settings
from llm_timecycle.config.settings import Settings
from llm_timecycle.profiling.measure.parallelism import Job, run_worker
from llm_timecycle.profiling.results import Advice, Profile

DEFAULTS = (
    "training.precision=float32",
    "training.threads=1",
    "training.batch_size=32",
    "training.sequence_length=25",
)
FACTOR = 2.0
STEPS = 7
WINDOWS = 6


def profile_step(settings: Settings, vocab_size: int) -> Profile:
    """The figures that advice on a step comes from."""
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.profiling.analysis.roofline import compute_roofline
    from llm_timecycle.profiling.measure.machine_limits import measure_machine_limits
    from llm_timecycle.profiling.measure.scaling import measure_growth
    from llm_timecycle.profiling.measure.stages import measure_training
    from llm_timecycle.system import describe_machine
    from llm_timecycle.text.batches import cut_lanes
    from llm_timecycle.training.devices import configure_tensorflow, read_plan

    training = settings.training
    plan = read_plan(settings)
    configure_tensorflow(plan)
    B, T = training.batch_size, training.sequence_length
    ids = np.random.default_rng(0).integers(0, vocab_size, B * T * WINDOWS + 1, np.int32)
    cycle = measure_training(settings, vocab_size, cut_lanes(ids, B, T), steps=9)
    limits = measure_machine_limits(settings, vocab_size, plan.shards)
    return Profile(
        name="check",
        machine=describe_machine(),
        versions={},
        settings=settings,
        vocab_size=vocab_size,
        training=cycle,
        points=compute_roofline(cycle, settings, vocab_size, limits),
        limits=limits,
        growth=(measure_growth(settings, vocab_size, "B"),),
    )


def follow(advice: Advice, settings: Settings, vocab_size: int) -> tuple[Settings, int]:
    """The settings and the vocabulary with the changes that the advice names."""
    for change in advice.changes:
        path, _, text = change.partition("=")
        section, _, key = path.partition(".")
        kinds: dict[str, Callable[[str], Any]] = {
            "tie_embeddings": lambda text: text == "true",
            "precision": str,
        }
        value = kinds.get(key, int)(text)
        if key == "vocab_size":
            vocab_size = value
            continue
        changed = getattr(settings, section).model_copy(update={key: value})
        settings = settings.model_copy(update={section: changed})
    return settings, vocab_size


def time_step(settings: Settings, vocab_size: int, tokens: int) -> list[float]:
    """Seconds of steps in a new process, each scaled to `tokens` tokens."""
    from llm_timecycle.training.devices import read_plan

    training, dumped = settings.training, settings.model_dump(mode="json")
    job = Job("threads", read_plan(settings).threads, dumped, vocab_size, STEPS)
    samples_s = run_worker(job)["samples_s"]
    return [s * tokens / (training.batch_size * training.sequence_length) for s in samples_s]


def check(advice: Advice, settings: Settings, vocab_size: int, rounds: int) -> bool:
    """Follow one piece of advice, print both savings; whether they agree."""
    before_s: list[float] = []
    after_s: list[float] = []
    tokens = settings.training.batch_size * settings.training.sequence_length
    changed = follow(advice, settings, vocab_size)
    for _ in range(rounds):
        before_s += time_step(settings, vocab_size, tokens)
        after_s += time_step(*changed, tokens)
    saved_s = median(before_s) - median(after_s)
    is_right = advice.saves_s / FACTOR < saved_s < advice.saves_s * FACTOR
    print(
        f"{'ok ' if is_right else 'OFF'} {advice.title}: promised {1e3 * advice.saves_s:.1f} ms, "
        f"saved {1e3 * saved_s:.1f} ms of {1e3 * median(before_s):.1f} "
        f"({saved_s / advice.saves_s:.2f} of the promise)"
    )
    return is_right


def main() -> None:
    """Profile, follow, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--vocab-size", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", metavar="WORD", help="follow advice of this title")
    options = parser.parse_args()
    settings = read_settings("section5", [*DEFAULTS, *options.set]).settings
    profile = profile_step(settings, options.vocab_size)
    from llm_timecycle.profiling.analysis.advice import give_advice

    advised = [advice for advice in give_advice(profile) if advice.changes]
    advised = [advice for advice in advised if options.only in advice.title]
    for advice in advised:
        print(f"{advice.title}: {advice.reason}")
    agreed = [check(advice, settings, options.vocab_size, options.rounds) for advice in advised]
    sys.exit(0 if advised and all(agreed) else 1)


if __name__ == "__main__":
    main()
