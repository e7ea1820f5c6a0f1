"""How the work is shared: threads, replicas, encoding workers, and the input pipeline.

    threads            `training.threads`, from 1 to the cores, and twice as many as there are
    replicas           MirroredStrategy over the GPUs, or over logical devices of one processor
    prefetch depth     windows prepared between steps (0), or one ahead (1), as in training

Each value is timed in a process of its own (`sharing_worker`), since threads and devices can be set
only once in one. Only the two depths take turns in one process: they differ by less than processes
do. Speed-ups are over the first value; Amdahl's law is fitted where no core is shared by two.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from statistics import median

import tensorflow as tf

from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import TimecycleError
from llm_timecycle.profiling.analysis.amdahl import fit_amdahl
from llm_timecycle.profiling.analysis.estimators import FEWEST_REPEATS
from llm_timecycle.profiling.format import format_duration
from llm_timecycle.profiling.measure.parallelism_worker import Job, Kind, Times
from llm_timecycle.profiling.measure.subprocesses import explain_failure, run_child
from llm_timecycle.profiling.results import AmdahlFit, Sweep
from llm_timecycle.system import count_cores

RunWorker = Callable[[Job], Times]

REPEATS = 7
_WORTH = 1.05  # a speed-up below it is none


def run_worker(job: Job) -> Times:
    """The times of a job, taken in a fresh process.

    Raises TimecycleError where the process fails.
    """
    command = [sys.executable, "-m", "llm_timecycle.profiling.measure.parallelism_worker"]
    done = run_child(command, job.to_json())
    if done.returncode:
        raise TimecycleError(
            f"{job.kind} = {job.value}: the process that was to time it failed: "
            f"{explain_failure(done)}"
        )
    times: Times = json.loads(done.stdout.splitlines()[-1])
    return times


def measure_sharing(
    settings: Settings,
    vocab_size: int,
    *,
    repeats: int = REPEATS,
    cores: int | None = None,
    run: RunWorker = run_worker,
) -> list[Sweep]:
    """All sweeps of `settings`, one after the other.

    Args:
        settings: with threads and precision resolved (`training.devices.resolve_machine`).
        vocab_size: V.
        repeats: timings at each value. cores: None counts them. run: times a job.

    Raises:
        TimecycleError: a process that was to time a value failed.
    """
    assert settings.training.threads is not None, "threads that are not resolved"
    cores = cores or count_cores()
    dumped = settings.model_dump(mode="json")

    def time_value(kind: Kind, value: int) -> Times:
        return run(Job(kind, value, dumped, vocab_size, max(repeats, FEWEST_REPEATS)))

    values = sorted({*choose_worker_counts(cores), 2 * cores, settings.training.threads})
    threads_s = {n: tuple(time_value("threads", n)["samples_s"]) for n in values}
    sweeps = [_describe_threads(threads_s, cores)]
    # One replica on the configured threads is what has just been timed.
    replicas_s = {1: threads_s[settings.training.threads]}
    gpus, lanes = len(tf.config.list_physical_devices("GPU")), settings.training.batch_size
    for n in choose_replicas(lanes, gpus or max(cores, 2)):
        replicas_s[n] = tuple(time_value("replicas", n)["samples_s"])
    sweeps.append(_describe_replicas(replicas_s, cores, gpus, lanes))
    sweeps.append(_describe_feeding(time_value("prefetch", 1)))
    return sweeps


def choose_worker_counts(cores: int) -> list[int]:
    """1, 2, 4 and so on, and as many as there are cores.

    >>> choose_worker_counts(2), choose_worker_counts(6)
    ([1, 2], [1, 2, 4, 6])
    """
    powers = [2**n for n in range(cores.bit_length()) if 2**n < cores]
    return [*powers, cores]


def choose_replicas(batch_size: int, devices: int) -> list[int]:
    """The numbers of replicas above 1 that the lanes can be shared out to evenly.

    >>> choose_replicas(64, 2), choose_replicas(6, 4), choose_replicas(7, 2)
    ([2], [2], [])
    """
    return [n for n in (2, 4) if n <= devices and batch_size % n == 0]


def _describe_threads(samples_s: dict[int, tuple[float, ...]], cores: int) -> Sweep:
    times_s = {n: median(taken) for n, taken in samples_s.items()}
    best = min(times_s, key=lambda n: times_s[n])
    speed_up = times_s[1] / times_s[best]
    if speed_up < _WORTH:
        remark = "more threads than one save nothing here: the products of a step are too small"
    else:
        remark = f"a step is done first with {best} threads, {speed_up:.2f} times as fast as with 1"
    over = max(times_s)
    if over > cores and times_s[over] > _WORTH * times_s[best]:
        slower = times_s[over] / times_s[best]
        remark += f"; {over} threads share {_say_cores(cores)} and take {slower:.2f} times as long"
    return Sweep("threads", samples_s, _fit(samples_s, cores), f"{remark}.")


def _describe_replicas(
    samples_s: dict[int, tuple[float, ...]], cores: int, gpus: int, batch_size: int
) -> Sweep:
    fit = _fit(samples_s, gpus or cores)
    if len(samples_s) == 1:
        remark = f"a batch of {batch_size} cannot be shared out evenly: choose an even batch_size."
        return Sweep("replicas", samples_s, fit, remark)
    times_s = {n: median(taken) for n, taken in samples_s.items()}
    best = min((n for n in times_s if n > 1), key=lambda n: times_s[n])
    remark = f"{best} replicas are {_compare(times_s[1] / times_s[best])} 1"
    if gpus:
        return Sweep("replicas", samples_s, fit, f"{remark}; each has a GPU of its own.")
    remark += (
        f". More replicas only share the same {_say_cores(cores)} here, which the threads of one "
        "use too; they pay where each has a device of its own."
    )
    return Sweep("replicas", samples_s, fit, remark)


def _compare(speed_up: float) -> str:
    """A speed-up in words, before what it is over."""
    if 1 / _WORTH < speed_up < _WORTH:
        return "as fast as"
    return f"{speed_up:.2f} times as fast as"


def _describe_feeding(times: Times) -> Sweep:
    """The pipeline: what preparing a window takes, and how much of it is hidden."""
    preparing_s, waiting_s = median(times["preparing_s"]), median(times["waiting_s"])
    computing_s = median(times["one_s"]) - waiting_s
    possible_s = min(preparing_s, computing_s)
    won_s = min(max(preparing_s - waiting_s, 0.0), possible_s)
    share = won_s / possible_s if possible_s > 0 else 0.0
    remark = (
        f"preparing a window takes {format_duration(preparing_s)} beside "
        f"{format_duration(computing_s)} of computing; one ahead, a step waits "
        f"{format_duration(waiting_s)} for it: {share:.0%} of the overlap possible is won".replace(
            "%", " %"
        )
    )
    remark += "; a deeper queue could only hide windows that take longer than a step."
    samples_s = {0: tuple(times["none_s"]), 1: tuple(times["one_s"])}
    return Sweep("prefetch depth", samples_s, None, remark)


def _fit(samples_s: dict[int, tuple[float, ...]], cores: int) -> AmdahlFit | None:
    """Amdahl's law over the values that have a core for each; None where there is only one."""
    fitted: dict[int, Sequence[float]] = {n: s for n, s in samples_s.items() if n <= cores}
    return fit_amdahl(fitted) if 1 in fitted and len(fitted) > 1 else None


def _say_cores(cores: int) -> str:
    return "1 core" if cores == 1 else f"{cores} cores"
