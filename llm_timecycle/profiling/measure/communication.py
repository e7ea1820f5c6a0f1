"""Training steps of several workers on this machine: what adding up over them takes.

Every number of workers is a job of new processes, connected over loopback as `train` connects
workers, and started as `launch` starts them; `worker_timing` is what each of them does. Beside the
steps, two more are timed for a model of other networks: adding vectors of several sizes, and steps
of one process with the lanes that one of W workers has.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from llm_timecycle.config.settings import Settings
from llm_timecycle.distributed.addresses import choose_local_addresses
from llm_timecycle.distributed.cluster import JOB_VARIABLE
from llm_timecycle.distributed.launcher import run_job
from llm_timecycle.distributed.worker_process import WorkerCommand
from llm_timecycle.errors import ConfigError, TimecycleError, UsageError, WorkersError
from llm_timecycle.files import read_regular
from llm_timecycle.profiling.analysis.communication import fit_communication, predict_steps
from llm_timecycle.profiling.measure.subprocesses import list_module_paths
from llm_timecycle.profiling.measure.worker_timing import (
    FILE_BYTES_AT_MOST,
    JOB_FILE,
    TIMES_FILE,
    Job,
    Times,
    read_times,
)
from llm_timecycle.profiling.worker_results import CommunicationFit, WorkersProfile, WorkersStep
from llm_timecycle.system import count_cores

REPEATS = 7  # timings of everything, unless another number is asked for
MACHINES = (2, 4, 8, 16)  # for which a network is predicted, where they divide the lanes
_WORTH = 1.1  # a smaller speed-up on shared cores may be chance
_MODULE = "llm_timecycle.profiling.measure.worker_timing"


def check_workers(
    settings: Settings, vocab_size: int, workers: int, free_bytes: int | None
) -> None:
    """Refuse workers that cannot be measured on this machine.

    Args:
        vocab_size: V. free_bytes: None where it is unknown.

    Raises:
        ConfigError: the lanes cannot be divided evenly. UsageError: there is too little memory, or
            they would share a GPU.
    """
    import tensorflow as tf

    from llm_timecycle.training.budget.memory import find_least_bytes

    if (lanes := settings.training.batch_size) % workers:
        raise ConfigError(
            f"training.batch_size: received {lanes}; expected a multiple of the {workers} workers"
        )
    if tf.config.list_physical_devices("GPU"):
        raise UsageError(
            f"workers: {workers} processes would share a GPU. Set CUDA_VISIBLE_DEVICES=-1 in the "
            f"environment to measure them on the processor"
        )
    least_bytes = workers * find_least_bytes(settings, vocab_size, workers)
    if free_bytes is not None and least_bytes > free_bytes:
        raise UsageError(
            f"workers: {workers} of them take {least_bytes / 1e9:.1f} GB or more, and "
            f"{free_bytes / 1e9:.1f} GB of memory may be used: measure fewer, or a smaller model"
        )


def measure_workers(
    settings: Settings,
    vocab_size: int,
    workers: int,
    repeats: int = REPEATS,
    *,
    run: Callable[[Job], Times],
    cores: int | None = None,
) -> WorkersProfile:
    """Steps of 1, 2, ... `workers` workers, and what a network would give.

    Args:
        settings: with threads and precision resolved (`training.devices.resolve_machine`).
        vocab_size: V. workers: a divisor of the lanes. repeats: timings of everything.
        run: runs a job, see `run_workers`. cores: None counts them.

    Raises:
        TimecycleError: the processes of a number of workers failed.
    """
    cores = cores or count_cores()
    lanes, dumped = settings.training.batch_size, settings.model_dump(mode="json")
    counts = choose_counts(lanes, workers)
    machines = tuple(sorted({1, *counts, *(n for n in MACHINES if lanes % n == 0)}))
    alone_s = run(Job(1, dumped, vocab_size, repeats, machines)).alone_s
    steps = []
    for count in counts:
        times = run(Job(count, dumped, vocab_size, repeats))
        steps.append(WorkersStep(count, times.step_s, times.stages_s, times.sums_s))
    # Workers that share a core say little of those that do not; two are the fewest there can be.
    fitted = [step for step in steps if step.workers <= cores] or steps[:1]
    fit = fit_communication(
        {(step.workers, size): taken for step in fitted for size, taken in step.sums_s.items()}
    )
    medians_s = {machines: median(taken) for machines, taken in alone_s.items()}
    return WorkersProfile(
        alone_s=alone_s,
        steps=steps,
        fit=fit,
        network=predict_steps(medians_s, fit, steps[0].summed_bytes),
        remark=_explain(cores, settings.training.threads or cores, steps, medians_s[1], fit),
    )


def choose_counts(lanes: int, workers: int) -> list[int]:
    """The powers of two from 2 that divide the lanes evenly, and `workers`.

    >>> choose_counts(64, 4), choose_counts(6, 6), choose_counts(12, 6)
    ([2, 4], [2, 6], [2, 4, 6])
    """
    powers = [2**n for n in range(1, workers.bit_length()) if 2**n < workers]
    return [*(n for n in powers if lanes % n == 0), workers]


def _explain(
    cores: int,
    threads: int,
    steps: Sequence[WorkersStep],
    alone_s: float,
    fit: CommunicationFit,
) -> str:
    if threads < cores:
        remark = (
            f"One process computes with {threads} of the {cores} cores of this machine "
            f"(training.threads), and each worker with as many, as long as there are enough."
        )
    else:
        shared = "core" if cores == 1 else f"{cores} cores"
        remark = (
            f"All workers share the {shared} of this machine, which one process has alone: the "
            f"speed-up shows the price of dividing a step, not what more machines would give."
        )
        faster = [step.workers for step in steps if alone_s > _WORTH * median(step.step_s)]
        if faster:
            remark += (
                f" {_list(faster)} workers were faster than one process all the same: other "
                f"programs were probably running, whose time they got. Measure on an idle machine."
            )
    if left_out := [step.workers for step in steps if step.workers not in fit.workers]:
        remark += f" {_list(left_out)} workers do not have a core each, and are not in the fit."
    return remark


def _list(counts: Sequence[int]) -> str:
    return " and ".join(map(str, counts))


def run_workers(job: Job, *, draw: random.Random) -> Times:
    """The times of a job, taken in as many new processes as it has workers.

    Args:
        draw: draws the ports and the job's id.

    Raises:
        TimecycleError: a process has failed. Interrupted: a signal came.
    """
    with tempfile.TemporaryDirectory(prefix="llm-timecycle-") as folder:
        (Path(folder) / JOB_FILE).write_text(json.dumps(asdict(job)), "utf-8")
        addresses = ",".join(choose_local_addresses(job.workers, draw))
        environment = {
            "PYTHONPATH": list_module_paths(),
            JOB_VARIABLE: f"{draw.getrandbits(64):016x}",
            "TF_CONFIG": "",
        }
        program = [sys.executable, "-P", "-m", _MODULE, folder, addresses]
        commands = [
            WorkerCommand([*program, str(index)], environment) for index in range(job.workers)
        ]
        try:
            run_job(lambda _: commands, 0, write=lambda _: None)
        except WorkersError as error:
            raise TimecycleError(f"measuring {job.workers} workers: {error}") from error
        return read_times(read_regular(Path(folder) / TIMES_FILE, FILE_BYTES_AT_MOST))
