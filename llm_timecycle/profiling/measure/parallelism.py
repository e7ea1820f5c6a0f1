"""What more threads, replicas and prefetching save.

    threads            `training.threads`, from 1 to the cores, and twice as many as there are
    replicas           MirroredStrategy over the GPUs, or over logical devices of one processor
    prefetch depth     windows prepared between steps (0), or one ahead (1), as in training

Each value is timed in a new process, which runs this file with a `Job` as JSON on stdin and prints
its times as JSON, because threads and devices can be set only once in a process. Only the two
depths alternate in one process: they differ by less than two processes do. Speed-ups are over the
first value; Amdahl's law is fitted to the values at which every worker has a core.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llm_timecycle.config.settings import Settings, TrainingSettings
from llm_timecycle.errors import TimecycleError
from llm_timecycle.profiling.analysis.amdahl import fit_amdahl
from llm_timecycle.profiling.format import format_duration
from llm_timecycle.profiling.measure.interleave import Clock, interleave
from llm_timecycle.profiling.measure.subprocesses import explain_failure, run_module
from llm_timecycle.profiling.results import AmdahlFit, Sweep
from llm_timecycle.system import count_cores

if TYPE_CHECKING:
    from llm_timecycle.profiling.measure.stages import TrialStep

Kind = Literal["threads", "replicas", "prefetch"]
Times = dict[str, list[float]]

REPEATS = 7  # timings at each value
WARM_UP_STEPS = 2
WINDOWS = 8  # of the random text that steps with prefetching read
_SHARED = " They share the cores that the threads of one use: each would need its own device."
_WORTH = 1.05  # a smaller speed-up counts as none


@dataclass(frozen=True)
class Job:
    """What a worker times."""

    kind: Kind
    value: int
    """Threads or replicas; unused for prefetch, which times both depths."""
    settings: dict[str, Any]
    """As `Settings.model_dump` gives them, with threads and precision resolved."""
    vocab_size: int
    repeats: int
    """Timings to take."""


def run_worker(job: Job) -> Times:
    """The times of a job, taken in a new process.

    Raises:
        TimecycleError: the process fails.
    """
    done = run_module("llm_timecycle.profiling.measure.parallelism", text=json.dumps(asdict(job)))
    if done.returncode:
        raise TimecycleError(
            f"{job.kind} = {job.value}: its process failed: {explain_failure(done)}"
        )
    times: Times = json.loads(done.stdout.splitlines()[-1])
    return times


def measure_parallelism(
    settings: Settings,
    vocab_size: int,
    *,
    cores: int | None = None,
    run: Callable[[Job], Times] = run_worker,
) -> list[Sweep]:
    """The sweeps of `settings`: threads, replicas, prefetch depth.

    Args:
        settings: with threads and precision resolved (`training.devices.resolve_machine`).
        vocab_size: V. cores: None counts them. run: runs a job.

    Raises:
        TimecycleError: the process of a value failed.
    """
    import tensorflow as tf

    from llm_timecycle.training.devices import read_plan

    cores, threads = cores or count_cores(), read_plan(settings).threads
    dumped = settings.model_dump(mode="json")

    def time_value(kind: Kind, value: int) -> Times:
        return run(Job(kind, value, dumped, vocab_size, REPEATS))

    values = sorted({*choose_worker_counts(cores), 2 * cores, threads})
    threads_s = {n: tuple(time_value("threads", n)["samples_s"]) for n in values}
    sweeps = [_describe_threads(threads_s, cores)]
    # One replica on the configured threads has just been timed.
    replicas_s = {1: threads_s[threads]}
    gpus, lanes = len(tf.config.list_physical_devices("GPU")), settings.training.batch_size
    for n in choose_replicas(lanes, gpus or max(cores, 2)):
        replicas_s[n] = tuple(time_value("replicas", n)["samples_s"])
    sweeps.append(_describe_replicas(replicas_s, cores, gpus, lanes))
    sweeps.append(_describe_prefetch(time_value("prefetch", 1)))
    return sweeps


def choose_worker_counts(cores: int) -> list[int]:
    """1, 2, 4 and so on, and as many as there are cores.

    >>> choose_worker_counts(2), choose_worker_counts(6)
    ([1, 2], [1, 2, 4, 6])
    """
    powers = [2**n for n in range(cores.bit_length()) if 2**n < cores]
    return [*powers, cores]


def choose_replicas(batch_size: int, devices: int) -> list[int]:
    """The numbers of replicas above 1 that divide the lanes evenly.

    >>> choose_replicas(64, 2), choose_replicas(6, 4), choose_replicas(7, 2)
    ([2], [2], [])
    """
    return [n for n in (2, 4) if n <= devices and batch_size % n == 0]


def _describe_threads(samples_s: dict[int, tuple[float, ...]], cores: int) -> Sweep:
    times_s = {n: median(taken) for n, taken in samples_s.items()}
    best = min(times_s, key=lambda n: times_s[n])
    speed_up = times_s[1] / times_s[best]
    remark = f"{best} threads are fastest, {speed_up:.2f} times as fast as 1."
    if speed_up < _WORTH:
        remark = "More than one thread saves nothing here: the products of a step are too small."
    return Sweep("threads", samples_s, _fit(samples_s, cores), remark)


def _describe_replicas(
    samples_s: dict[int, tuple[float, ...]], cores: int, gpus: int, batch_size: int
) -> Sweep:
    times_s = {n: median(taken) for n, taken in samples_s.items()}
    best = min((n for n in times_s if n > 1), key=lambda n: times_s[n], default=1)
    if best == 1:
        remark = f"A batch of {batch_size} cannot be divided evenly: choose an even batch_size."
    else:
        remark = f"{best} replicas are {times_s[1] / times_s[best]:.2f} times as fast as 1"
        remark += "; each has its own GPU." if gpus else f".{_SHARED}"
    return Sweep("replicas", samples_s, _fit(samples_s, gpus or cores), remark)


def _describe_prefetch(times: Times) -> Sweep:
    """What preparing a window takes, and how much of it overlaps with the step before."""
    preparing_s, waiting_s = median(times["preparing_s"]), median(times["waiting_s"])
    computing_s = median(times["one_s"]) - waiting_s
    possible_s = max(min(preparing_s, computing_s), 1e-9)
    share = min(max(preparing_s - waiting_s, 0.0) / possible_s, 1.0)
    remark = (
        f"Preparing a window takes {format_duration(preparing_s)}, computing "
        f"{format_duration(computing_s)}; with one window ahead a step waits "
        f"{format_duration(waiting_s)}: {100 * share:.0f} % of the possible overlap is reached."
    )
    samples_s = {0: tuple(times["none_s"]), 1: tuple(times["one_s"])}
    return Sweep("prefetch depth", samples_s, None, remark)


def _fit(samples_s: dict[int, tuple[float, ...]], cores: int) -> AmdahlFit | None:
    """Amdahl's law over the values with a core for each worker; None where only one has."""
    fitted: dict[int, Sequence[float]] = {n: s for n, s in samples_s.items() if n <= cores}
    return fit_amdahl(fitted) if 1 in fitted and len(fitted) > 1 else None


def run_job(job: Job, now: Clock = time.perf_counter) -> Times:
    """The seconds of each timing, by name: `samples_s`, or those of `_time_prefetch`.

    Training steps run with `job.value` threads, or replicas on the configured threads.
    """
    settings = Settings.model_validate(job.settings)
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.profiling.measure.stages import TrialStep
    from llm_timecycle.training.devices import (
        choose_strategy,
        configure_tensorflow,
        make_plan,
        read_plan,
    )

    training, plan = settings.training, read_plan(settings)
    if job.kind == "threads":
        layers = settings.model.num_layers
        plan = make_plan(job.value, training.batch_size, plan.precision, layers)
    _show_devices(job.value if job.kind == "replicas" else 1)
    configure_tensorflow(plan)
    strategy = choose_strategy(training.batch_size)
    step = TrialStep(settings, job.vocab_size, plan.count_shards(strategy), strategy)
    if job.kind == "prefetch":
        return _time_prefetch(job, step, training, now)
    run = step.prepare(training.batch_size, training.sequence_length)
    samples_s = interleave({"step": run}, job.repeats, warm_up=WARM_UP_STEPS, now=now)
    return {"samples_s": list(samples_s["step"])}


def _show_devices(count: int) -> None:
    """Let TensorFlow see `count` devices: GPUs where there are any, else logical processors."""
    import tensorflow as tf

    if gpus := tf.config.list_physical_devices("GPU"):
        tf.config.set_visible_devices(gpus[:count], "GPU")
    elif count > 1:
        processor = tf.config.list_physical_devices("CPU")[0]
        logical = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(processor, logical)


def _time_prefetch(job: Job, step: TrialStep, training: TrainingSettings, now: Clock) -> Times:
    """Steps whose windows are prepared between them, and steps whose windows are one ahead.

    Returns:
        `none_s` and `one_s`, a step each, its input included; `preparing_s` of the windows, and
        `waiting_s` of steps with a window ahead.
    """
    from llm_timecycle.model.sharding import distribute
    from llm_timecycle.text.batches import Lanes
    from llm_timecycle.training.prefetch import WindowFeed

    ids = np.random.default_rng(0).integers(
        0, job.vocab_size, training.batch_size * training.sequence_length * WINDOWS + 1, np.int32
    )
    lanes = Lanes(ids, training.batch_size, training.sequence_length)
    run = step.prepare_for_windows(training.batch_size)
    preparing_s: list[float] = []
    waiting_s: list[float] = []

    def prepare_between() -> None:
        began = now()
        position = len(preparing_s) % WINDOWS
        window = [distribute(step.strategy, array) for array in lanes.read_window(position)]
        preparing_s.append(now() - began)
        run(*window)

    def prepare_ahead() -> None:
        began = now()
        window = feed.take(len(waiting_s) % WINDOWS)
        waiting_s.append(now() - began)
        run(*window)

    with closing(WindowFeed(lanes, step.strategy, now)) as feed:
        steps = {"none_s": prepare_between, "one_s": prepare_ahead}
        samples_s = interleave(steps, job.repeats, warm_up=WARM_UP_STEPS, now=now)
    return {
        **{name: list(taken) for name, taken in samples_s.items()},
        "preparing_s": preparing_s[WARM_UP_STEPS:],
        "waiting_s": waiting_s[WARM_UP_STEPS:],
    }


if __name__ == "__main__":
    print(json.dumps(run_job(Job(**json.load(sys.stdin)))))  # noqa: T201
