"""A worker that times training steps and sums, in a new process.

Markers around the sum over the workers tell it apart from the step, as those of `stages` do for its
passes: the first waits for all gradients, the second for all sums. The worker that has its
gradients last waits for nobody, so the shortest sum of a step is its communication, and what a
worker waits beyond it is waiting. Steps with markers alternate with steps without.

    python -m llm_timecycle.profiling.measure.worker_timing FOLDER ADDRESSES INDEX

reads the job from a file in the folder; the first worker writes the times beside it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_timecycle.config.settings import Settings
from llm_timecycle.distributed.cluster import find_cluster
from llm_timecycle.distributed.parent import end_with_launcher
from llm_timecycle.errors import TimecycleError
from llm_timecycle.files import read_regular
from llm_timecycle.profiling.measure.interleave import Clock, Run, interleave
from llm_timecycle.profiling.worker_results import WORKER_STAGES

if TYPE_CHECKING:
    from llm_timecycle.training.workers.workers import Workers

WARM_UP_STEPS = 2
JOB_FILE, TIMES_FILE = "job.json", "times.json"
FILE_BYTES_AT_MOST = 1 << 24
_SIZES, _RATIO = 5, 4  # of the vectors added alone, each a quarter of the one before it
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Job:
    """What the processes of one number of workers time."""

    workers: int
    settings: Mapping[str, Any]
    """As `Settings.model_dump` gives them, with threads and precision resolved."""
    vocab_size: int
    repeats: int
    """Timings to take."""
    machines: tuple[int, ...] = ()
    """Of one worker: the W with whose part of the lanes it times a step."""


@dataclass(frozen=True)
class Times:
    """What a job timed, in seconds; the fields of one worker, or those of several."""

    alone_s: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    step_s: tuple[float, ...] = ()
    stages_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    sums_s: Mapping[int, tuple[float, ...]] = field(default_factory=dict)


def read_times(content: bytes) -> Times:
    """The times that the first worker wrote."""
    found = json.loads(content)
    return Times(
        alone_s={int(workers): tuple(taken) for workers, taken in found["alone_s"].items()},
        step_s=tuple(found["step_s"]),
        stages_s={stage: tuple(taken) for stage, taken in found["stages_s"].items()},
        sums_s={int(size): tuple(taken) for size, taken in found["sums_s"].items()},
    )


def take_part(job: Job, addresses: str, index: int, now: Clock = time.perf_counter) -> Times:
    """The times of a job, as one of its workers, in a new process.

    All workers return the same sums; the step is as this one sees it.
    """
    settings = Settings.model_validate(job.settings)
    cluster = find_cluster(addresses, index, os.environ)
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.training.devices import configure_tensorflow, read_plan
    from llm_timecycle.training.workers.join import join_workers

    with join_workers(cluster, settings, resume=False) as workers:
        if workers.size == 1:
            configure_tensorflow(read_plan(settings))
            return Times(alone_s=_time_alone(job, settings, now))
        step_s, stages_s, summed_bytes = _time_steps(job, settings, workers, now)
        with workers.together("adding vectors"):
            sums_s = _time_sums(workers, summed_bytes, job.repeats, now)
        return Times(step_s=step_s, stages_s=stages_s, sums_s=sums_s)


def _time_alone(job: Job, settings: Settings, now: Clock) -> dict[int, tuple[float, ...]]:
    """Steps with the lanes that one of W workers has, by W."""
    from llm_timecycle.profiling.measure.stages import TrialStep
    from llm_timecycle.training.workers.workers import ALONE

    training, runs = settings.training, {}
    trial = TrialStep(settings, job.vocab_size, shards=1)
    for machines in job.machines:
        groups = -(-training.accumulate // machines)
        part = {"batch_size": training.batch_size // machines, "accumulate": groups}
        changed = {"training": training.model_copy(update=part)}
        step = trial.compile_part(settings.model_copy(update=changed), ALONE)
        runs[machines] = trial.prepare(part["batch_size"], training.sequence_length, step)
    return interleave(runs, job.repeats, warm_up=WARM_UP_STEPS, now=now)


def _time_steps(
    job: Job, settings: Settings, workers: Workers, now: Clock
) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]], int]:
    """Steps without markers, the stages of steps with markers, the bytes that a step adds up."""
    from llm_timecycle.profiling.measure.stages import TrialStep
    from llm_timecycle.profiling.measure.sum_markers import MarkedWorkers

    training = settings.training
    trial, marked = TrialStep(settings, job.vocab_size, shards=1), MarkedWorkers(workers, now)
    lanes, done = len(workers.own_lanes(training.batch_size)), 0
    moments: list[tuple[float, ...]] = []

    def prepare(among: Workers) -> Run:
        step = trial.compile_part(settings, among)
        run = trial.prepare(lanes, training.sequence_length, step)

        def run_watched() -> None:
            nonlocal done
            run()
            done += 1
            workers.note_step(done, is_compiled=done > 2 * WARM_UP_STEPS)

        return run_watched

    def run_marked() -> None:
        called = now()
        run()
        moments.append((called, *marked.read(), now()))

    run = prepare(marked)
    runs = {"with": run_marked, "without": prepare(workers)}
    step_s = interleave(runs, job.repeats, warm_up=WARM_UP_STEPS, now=now)["without"]
    spans_s = np.diff(np.asarray(moments[-job.repeats :])).T  # (3, R)
    compute_s, adding_s, update_s = spans_s
    all_s = workers.join_lanes(adding_s[np.newaxis], workers.size)  # (W, R)
    shortest_s = all_s.min(axis=0)
    parts_s = (compute_s, adding_s - shortest_s, shortest_s, update_s)
    stages_s = {
        stage: tuple(taken_s.tolist())
        for stage, taken_s in zip(WORKER_STAGES, parts_s, strict=True)
    }
    floats = trial.network.count_params() + 1  # and the loss
    return step_s, stages_s, _FLOAT_BYTES * floats


def _time_sums(
    workers: Workers, summed_bytes: int, repeats: int, now: Clock
) -> dict[int, tuple[float, ...]]:
    """Adding vectors alone, by their bytes: that of a step, and ever smaller ones."""
    import tensorflow as tf

    add = tf.function(
        lambda own: workers.add([own])[0],
        input_signature=(tf.TensorSpec((None,), tf.float32),),
        autograph=False,
    )
    floats = summed_bytes // _FLOAT_BYTES
    lengths = sorted({max(floats // _RATIO**n, 1) for n in range(_SIZES)})
    runs = {n * _FLOAT_BYTES: partial(_add_and_wait, add, tf.ones(n)) for n in lengths}
    own_s = interleave(runs, repeats, warm_up=WARM_UP_STEPS, now=now)
    sums_s = {}
    for size, taken_s in own_s.items():  # who comes last waits for nobody
        all_s = workers.join_lanes(np.asarray(taken_s)[np.newaxis], workers.size)
        sums_s[size] = tuple(all_s.min(axis=0).tolist())
    return sums_s


def _add_and_wait(add: Callable[[Any], Any], own: Any) -> None:
    float(add(own)[0])


def _main(folder: str, addresses: str, index: str) -> None:
    end_with_launcher()
    job = Job(**json.loads(read_regular(Path(folder) / JOB_FILE, FILE_BYTES_AT_MOST)))
    times = take_part(job, addresses, int(index))
    if index == "0":
        (Path(folder) / TIMES_FILE).write_text(json.dumps(asdict(times)), "utf-8")


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except Exception as error:  # noqa: BLE001 - the launcher shows the message
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(error.exit_code if isinstance(error, TimecycleError) else 1)
