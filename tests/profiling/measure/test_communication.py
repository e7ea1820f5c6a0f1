"""Steps of several workers: what is timed, what the figures mean, and two real workers."""

from __future__ import annotations

import random
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

from llm_timecycle.errors import ConfigError, TimecycleError, UsageError
from llm_timecycle.profiling.measure.communication import (
    check_workers,
    measure_workers,
    run_workers,
)
from llm_timecycle.profiling.measure.sum_markers import MarkedWorkers
from llm_timecycle.profiling.measure.worker_timing import Job, Times, take_part
from llm_timecycle.profiling.worker_results import WORKER_STAGES, WorkersProfile
from llm_timecycle.training.workers.workers import Workers
from tests.profiling.measure.test_parallelism import DUMPED, SETTINGS

RUN = partial(run_workers, draw=random.Random(17))


class Machine:
    """Jobs whose times are made up: 1 ms a round and 1 GB/s, and what was asked for."""

    def __init__(self, step_s: float = 0.4) -> None:
        self.jobs: list[Job] = []
        self._step_s = step_s

    def run(self, job: Job) -> Times:
        self.jobs.append(job)
        rounds = 2 * (job.workers - 1)
        if job.workers == 1:
            return Times(alone_s={w: (0.3 / w,) * job.repeats for w in job.machines})
        sums_s = {
            # Two share a core from 4 workers on: everything takes twice as long.
            size: (rounds * (0.001 + size / job.workers / 1e9) * (1 + (job.workers > 2)),)
            for size in (500_000, 2_000_000, 8_000_000)
        }
        stages_s = dict.fromkeys(WORKER_STAGES, (0.1,) * job.repeats)
        return Times(step_s=(self._step_s,) * job.repeats, stages_s=stages_s, sums_s=sums_s)


def measure(machine: Machine, workers: int, cores: int) -> WorkersProfile:
    return measure_workers(SETTINGS, 30, workers, 5, run=machine.run, cores=cores)


def test_one_and_powers_of_two_are_timed_in_jobs() -> None:
    machine = Machine()
    found = measure(machine, workers=4, cores=2)
    assert [(job.workers, job.repeats) for job in machine.jobs] == [(1, 5), (2, 5), (4, 5)]
    assert machine.jobs[0].machines == (1, 2, 4, 8)  # 16 machines would have half a lane each
    assert [step.workers for step in found.steps] == [2, 4]
    assert found.steps[1].summed_bytes == 8_000_000
    assert found.steps[1].sent_bytes == 12_000_000
    assert found.steps[1].share == 0.25


def test_workers_without_a_core_each_are_left_out_of_the_fit() -> None:
    found = measure(Machine(), workers=4, cores=2)
    assert found.fit.workers == (2,)
    assert found.fit.latency_s == pytest.approx(0.001)
    assert "share the 2 cores" in found.remark
    assert "4 workers do not have a core each" in found.remark
    both = measure(Machine(), workers=4, cores=4)
    assert both.fit.workers == (2, 4)
    assert "2 of the 4 cores" in both.remark  # training.threads is 2
    assert measure(Machine(), workers=2, cores=1).fit.workers == (2,)


def test_workers_that_beat_one_process_on_its_own_cores_are_doubted() -> None:
    # One process takes 300 ms.
    assert "other programs" not in measure(Machine(step_s=0.28), workers=4, cores=2).remark
    remark = measure(Machine(step_s=0.2), workers=4, cores=2).remark
    assert "2 and 4 workers were faster than one process" in remark
    assert "other programs were probably running" in remark


def test_workers_that_cannot_be_measured_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_workers(SETTINGS, 30, 4, None)
    with pytest.raises(ConfigError, match=r"batch_size: received 8; .* multiple of the 3 workers"):
        check_workers(SETTINGS, 30, 3, None)
    with pytest.raises(UsageError, match=r"4 of them take 0\.5 GB .* 0\.4 GB of memory"):
        check_workers(SETTINGS, 30, 4, 400_000_000)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["GPU:0"])
    with pytest.raises(UsageError, match="would share a GPU"):
        check_workers(SETTINGS, 30, 2, None)


def test_two_workers_are_timed() -> None:
    times = RUN(Job(2, DUMPED, 30, 5))
    # E V + (E + H + 1) 4 H + (H + 1) V = 120 + 416 + 270 weights, and the loss
    assert list(times.sums_s) == [4 * n for n in (3, 12, 50, 201, 807)]
    assert all(len(taken) == 5 and min(taken) > 0 for taken in times.sums_s.values())
    assert len(times.step_s) == 5
    assert list(times.stages_s) == list(WORKER_STAGES)
    for stage, taken in times.stages_s.items():
        assert len(taken) == 5
        assert min(taken) > 0 or (min(taken) == 0 and stage == "waiting")


def test_one_process_is_timed_with_the_lanes_of_one_of_several() -> None:
    times = take_part(Job(1, DUMPED, 30, 5, (1, 8)), "127.0.0.1:4000", 0)
    assert {machines: len(taken) for machines, taken in times.alone_s.items()} == {1: 5, 8: 5}
    assert times.step_s == ()


def test_a_process_that_fails_says_why() -> None:
    dumped = {**DUMPED, "training": {**DUMPED["training"], "batch_size": 0}}
    with pytest.raises(
        TimecycleError, match=r"measuring 2 workers: [^.]*training.batch_size"
    ) as told:
        RUN(Job(2, dumped, 30, 5))
    assert told.value.exit_code == 1


def test_markers_are_right_before_and_right_after_the_sum() -> None:
    seen: list[str] = []

    def note(name: str, result: Any) -> Any:
        seen.append(name)
        return result

    def add(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        each = [tf.numpy_function(lambda x: note("sum", 2 * x), [t], t.dtype) for t in tensors]
        return [tf.ensure_shape(t, ()) for t in each]

    ticks = count(1.0)
    workers: Any = SimpleNamespace(size=2, index=1, threads=3, add=add)
    marked: Workers = MarkedWorkers(workers, lambda: note("clock", next(ticks)))
    assert (marked.size, marked.index, marked.threads) == (2, 1, 3)

    @tf.function(autograph=False)
    def step(x: tf.Tensor) -> Any:
        gradient = tf.numpy_function(lambda x: note("gradient", x), [x], tf.float32)
        added = marked.add([gradient, gradient])
        return [tf.numpy_function(lambda x: note("update", x), [t], tf.float32) for t in added]

    assert [float(t) for t in step(tf.constant(3.0))] == [6.0, 6.0]
    assert seen == ["gradient", "clock", "sum", "sum", "clock", "update", "update"]
    assert marked.read() == (1.0, 2.0)
