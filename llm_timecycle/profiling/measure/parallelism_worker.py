"""One value of a sweep, timed in this process: what `parallelism.run_worker` starts with `-m`.

Threads and devices can be set only once in a process, before TensorFlow is used. The job comes on
stdin and the times go to stdout, both as one JSON object; see `Job`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from llm_timecycle.config.settings import Settings

Kind = Literal["threads", "replicas", "prefetch", "encoding"]
Clock = Callable[[], float]
Times = dict[str, list[float]]

WARM_UP_STEPS = 2
WINDOWS = 8  # of the random text that steps with an input pipeline read


@dataclass(frozen=True)
class Job:
    """What a worker is to time."""

    kind: Kind
    value: int
    """Threads or replicas; unused for prefetch, which times both depths."""
    settings: dict[str, Any]
    """As `Settings.model_dump` gives them, with threads and precision resolved."""
    vocab_size: int
    repeats: int
    """Timings to take."""

    def to_json(self) -> str:
        """The form that `read_job` reads."""
        return json.dumps(asdict(self))


def read_job(text: str) -> Job:
    """The job of a JSON object."""
    return Job(**json.loads(text))


def run_job(job: Job, now: Clock = time.perf_counter) -> Times:
    """The seconds of each timing, by name: `samples_s`, or those of `_time_feeding`."""
    settings = Settings.model_validate(job.settings)
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    if job.kind == "prefetch":
        return _time_feeding(job, settings, now)
    return _time_steps(job, settings, now)


def _time_steps(job: Job, settings: Settings, now: Clock) -> Times:
    """Training steps with so many threads, or with so many replicas on the configured threads."""
    from llm_timecycle.profiling.measure.trial_step import TrialStep
    from llm_timecycle.training.devices import (
        choose_strategy,
        configure_tensorflow,
        make_plan,
        read_plan,
    )

    training = settings.training
    plan = read_plan(settings)
    if job.kind == "threads":
        plan = make_plan(job.value, training.batch_size, plan.precision)
    replicas = job.value if job.kind == "replicas" else 1
    _show_devices(replicas)
    configure_tensorflow(plan)
    strategy = choose_strategy(training.batch_size)
    step = TrialStep(settings, job.vocab_size, plan.count_shards(strategy), strategy)
    run = step.prepare(training.batch_size, training.sequence_length)
    return {"samples_s": _time_repeats(run, job.repeats, now, WARM_UP_STEPS)}


def _show_devices(count: int) -> None:
    """Let TensorFlow see `count` devices: GPUs where there are any, else logical processors."""
    import tensorflow as tf

    if gpus := tf.config.list_physical_devices("GPU"):
        tf.config.set_visible_devices(gpus[:count], "GPU")
    elif count > 1:
        processor = tf.config.list_physical_devices("CPU")[0]
        logical = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(processor, logical)


def _time_feeding(job: Job, settings: Settings, now: Clock) -> Times:
    """Steps whose windows are prepared between them, and steps whose windows are one ahead.

    Both in turn in one process: the difference is far smaller than that of two processes.

    Returns:
        `none_s` and `one_s`, a step each, its input included; `preparing_s` of the windows, and
        `waiting_s` of steps with a window ahead.
    """
    from llm_timecycle.model.sharding import distribute
    from llm_timecycle.profiling.measure.trial_step import TrialStep
    from llm_timecycle.text.batches import Lanes
    from llm_timecycle.training.devices import configure_tensorflow, read_plan
    from llm_timecycle.training.prefetch import WindowFeed

    training = settings.training
    plan = read_plan(settings)
    configure_tensorflow(plan)
    step = TrialStep(settings, job.vocab_size, plan.shards)
    ids = np.random.default_rng(0).integers(
        0, job.vocab_size, training.batch_size * training.sequence_length * WINDOWS + 1, np.int32
    )
    lanes = Lanes(ids, training.batch_size, training.sequence_length)
    run = step.prepare_for_windows(training.batch_size)
    times: Times = {"none_s": [], "one_s": [], "preparing_s": [], "waiting_s": []}

    def prepare_between(position: int) -> None:
        began = now()
        window = [distribute(step.strategy, array) for array in lanes.read_window(position)]
        prepared = now()
        run(*window)
        times["none_s"].append(now() - began)
        times["preparing_s"].append(prepared - began)

    def prepare_ahead(position: int) -> None:
        began = now()
        window = feed.take(position)
        taken = now()
        run(*window)
        times["one_s"].append(now() - began)
        times["waiting_s"].append(taken - began)

    with closing(WindowFeed(lanes, step.strategy, now)) as feed:
        for turn in range(WARM_UP_STEPS + job.repeats):
            prepare_between(turn % WINDOWS)
            prepare_ahead(turn % WINDOWS)
    return {name: taken[WARM_UP_STEPS:] for name, taken in times.items()}


def _time_repeats(run: Callable[[], object], repeats: int, now: Clock, warm_up: int) -> list[float]:
    """Seconds of a run, so many times, after some that are not counted."""
    for _ in range(warm_up):
        run()
    taken = []
    for _ in range(repeats):
        began = now()
        run()
        taken.append(now() - began)
    return taken


def main() -> None:
    """Do the job on stdin."""
    print(json.dumps(run_job(read_job(sys.stdin.read()))))  # noqa: T201


if __name__ == "__main__":
    main()
