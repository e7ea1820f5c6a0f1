"""Threads, replicas, prefetching: what is timed, what the figures mean, and the worker."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from llm_timecycle.config.settings import (
    DataSettings,
    ModelSettings,
    Settings,
    TokenizerSettings,
    TrainingSettings,
)
from llm_timecycle.errors import TimecycleError
from llm_timecycle.profiling.measure.parallelism import (
    Job,
    Times,
    measure_parallelism,
    run_job,
    run_worker,
)
from llm_timecycle.profiling.results import Sweep

SETTINGS = Settings(
    data=DataSettings(train="text.txt"),
    tokenizer=TokenizerSettings(level="char"),
    model=ModelSettings(embedding_dim=4, hidden_units=8, num_layers=1),
    training=TrainingSettings(
        batch_size=8, sequence_length=6, precision="float32", threads=2, learning_rate=1e-3
    ),
)
DUMPED = SETTINGS.model_dump(mode="json")


class Machine:
    """Workers whose times are made up, and what was asked of them."""

    def __init__(self, **times_s: dict[int, float]) -> None:
        self.jobs: list[Job] = []
        self._times_s = times_s

    def run(self, job: Job) -> Times:
        self.jobs.append(job)
        if job.kind == "prefetch":
            return {
                "none_s": [0.112] * job.repeats,
                "one_s": [0.103] * job.repeats,
                "preparing_s": [0.012] * job.repeats,
                "waiting_s": [0.003] * job.repeats,
            }
        return {"samples_s": [self._times_s[job.kind][job.value]] * job.repeats}


def measure(machine: Machine, cores: int = 2, batch_size: int = 8) -> dict[str, Sweep]:
    training = SETTINGS.training.model_copy(update={"batch_size": batch_size})
    settings = SETTINGS.model_copy(update={"training": training})
    sweeps = measure_parallelism(settings, 30, cores=cores, run=machine.run)
    return {sweep.name: sweep for sweep in sweeps}


def test_threads_go_up_to_twice_the_cores_and_are_fitted_up_to_the_cores() -> None:
    # 1, 0.6: the serial fraction s is 0.2 since 0.2 + 0.8 / 2 = 0.6. Four threads are slower.
    machine = Machine(threads={1: 1.0, 2: 0.6, 4: 0.9}, replicas={2: 0.6})
    sweep = measure(machine)["threads"]
    assert sweep.samples_s == {1: (1.0,) * 7, 2: (0.6,) * 7, 4: (0.9,) * 7}
    assert sweep.fit is not None
    assert sweep.fit.serial_fraction == pytest.approx(0.2, abs=0.001)
    assert "2 threads are fastest, 1.67 times as fast as 1" in sweep.remark


def test_threads_that_save_nothing_are_said_to() -> None:
    machine = Machine(threads={1: 1.0, 2: 0.99, 4: 1.0}, replicas={2: 1.0})
    assert "More than one thread saves nothing" in measure(machine)["threads"].remark


@pytest.mark.parametrize(
    ("time_s", "said"),
    [
        (0.6, "2 replicas are 1.00 times as fast as 1."),
        (0.8, "2 replicas are 0.75 times as fast as 1."),
    ],
)
def test_replicas_are_said_to_share_the_same_cores(time_s: float, said: str) -> None:
    machine = Machine(threads={1: 1.0, 2: 0.6, 4: 0.6}, replicas={2: time_s})
    sweep = measure(machine)["replicas"]
    assert sweep.samples_s == {1: (0.6,) * 7, 2: (time_s,) * 7}  # 1 is that of 2 threads
    assert sweep.remark.startswith(said)
    assert "share the cores" in sweep.remark


def test_lanes_that_cannot_be_shared_out_are_said_to() -> None:
    machine = Machine(threads={1: 1.0, 2: 0.6, 4: 0.6})
    sweep = measure(machine, batch_size=9)["replicas"]
    assert list(sweep.samples_s) == [1]
    assert sweep.fit is None
    assert "batch of 9 cannot be divided evenly" in sweep.remark


def test_the_overlap_won_is_what_a_step_does_not_wait_for() -> None:
    machine = Machine(threads={1: 1.0, 2: 0.6, 4: 0.6}, replicas={2: 0.6})
    sweep = measure(machine)["prefetch depth"]
    assert sweep.samples_s == {0: (0.112,) * 7, 1: (0.103,) * 7}
    # 12 ms of preparing, all of which 100 ms of computing could hide; 3 ms are waited for.
    assert "75 % of the possible overlap is reached" in sweep.remark


def test_one_core_needs_no_law() -> None:
    machine = Machine(threads={1: 1.0, 2: 1.0}, replicas={2: 1.2})
    sweeps = measure(machine, cores=1)
    assert sweeps["threads"].fit is None
    assert sweeps["replicas"].fit is None


def test_a_worker_times_replicas_in_a_process_of_its_own() -> None:
    times = run_worker(Job("replicas", 2, DUMPED, 30, 5))
    assert len(times["samples_s"]) == 5
    assert all(seconds > 0 for seconds in times["samples_s"])


def test_a_process_that_fails_says_why() -> None:
    dumped = {**DUMPED, "training": {**DUMPED["training"], "batch_size": 9}}
    with pytest.raises(TimecycleError, match=r"replicas = 2: .* multiple of the 2 devices") as told:
        run_worker(Job("replicas", 2, dumped, 30, 5))
    assert "\n" not in str(told.value)


def test_steps_are_timed_with_windows_between_and_ahead() -> None:
    times = run_job(Job("prefetch", 1, DUMPED, 30, 5))
    assert {name: len(taken) for name, taken in times.items()} == dict.fromkeys(
        ("none_s", "one_s", "preparing_s", "waiting_s"), 5
    )
    for whole, part in (("none_s", "preparing_s"), ("one_s", "waiting_s")):
        assert all(a > b > 0 for a, b in zip(times[whole], times[part], strict=True))


def test_importing_the_worker_is_light() -> None:
    program = (
        "import sys, json, llm_timecycle.profiling.measure.parallelism; "
        "print(json.dumps('tensorflow' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(done.stdout) is False
