"""The machine's limits: rates on a clock given by hand, sizes, and small real measurements."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.model import cudnn
from llm_timecycle.profiling.measure import machine_limits
from llm_timecycle.profiling.measure.machine_limits import (
    choose_array_bytes,
    measure_machine_limits,
    measure_memory_rates,
    measure_rate,
)

MIB = 2**20
SETTINGS = Settings(
    model=ModelSettings(embedding_dim=4, hidden_units=8, num_layers=1),
    training=TrainingSettings(batch_size=8, sequence_length=16, precision="float32"),
)


def make_clock(*runs_s: float) -> Callable[[], float]:
    """A clock that is read before and after runs that take this long."""
    readings = [reading for run_s in runs_s for reading in (0.0, run_s)]
    return iter(readings).__next__


def test_the_median_by_hand() -> None:
    # The first is the warm-up. Rates 10, 5, 2, 1, 4: in order 1, 2, 4, 5, 10.
    clock = make_clock(9.0, 1.0, 2.0, 5.0, 10.0, 2.5)
    assert measure_rate(lambda: None, 10, clock, repeats=5) == 4.0


def test_a_short_run_is_repeated_within_a_reading() -> None:
    calls = []
    rate = measure_rate(lambda: calls.append(1), 10, make_clock(0.001, 0.02, 0.02, 0.02), repeats=3)
    assert len(calls) == 1 + 3 * 10  # a hundredth of a second is ten of the first run
    assert rate == pytest.approx(10 * 10 / 0.02)


def test_arrays_are_beyond_the_cache_and_within_a_tenth_of_the_memory() -> None:
    assert choose_array_bytes(32 * MIB, 100_000 * MIB) == 128 * MIB
    assert choose_array_bytes(32 * MIB, 1_000 * MIB) == 100 * MIB
    assert choose_array_bytes(None, None) == 256 * MIB
    with pytest.raises(UsageError, match=r"expected 640 MiB free.*of 32 MiB.*found 639 MiB"):
        choose_array_bytes(32 * MIB, 639 * MIB)


def test_memory_is_read_and_copied_by_any_number_of_threads() -> None:
    for threads in (1, 3):
        assert all(rate > 0 for rate in measure_memory_rates(1_000_000, threads))


def test_limits_are_measured_for_both_types_and_both_ways(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine_limits, "choose_array_bytes", lambda cache, free: 1 << 20)
    ticks = itertools.count()
    found = measure_machine_limits(SETTINGS, 30, 2, now=lambda: float(next(ticks)))
    # Every run takes one tick of this clock: the largest product is counted, in both shards.
    assert found["float32"] == found["bfloat16"] == 2 * 2 * 512**3
    assert found["read"] == 1 << 20
    assert found["copy"] == 1 << 20  # half an array onto the other half, both ways


def test_too_little_memory_is_told_before_products_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine_limits, "read_free_bytes", lambda: 1 << 20)
    monkeypatch.setattr(machine_limits, "read_largest_cache_bytes", lambda: 32 << 20)
    with pytest.raises(UsageError, match="expected 640 MiB free"):
        measure_machine_limits(SETTINGS, 30, 2)


def test_on_a_gpu_the_limits_of_the_processor_are_not_taken_for_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cudnn, "has_gpu", lambda: True)
    with pytest.raises(UsageError, match="steps run on a GPU"):
        measure_machine_limits(SETTINGS, 30, 2)
