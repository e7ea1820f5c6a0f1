"""The machine's ceilings: rates on a clock given by hand, sizes, and the real thing in small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.measure import machine_limits as ceilings
from llm_timecycle.profiling.measure.machine_limits import (
    ProductSize,
    Rate,
    choose_array_bytes,
    measure_ceilings,
    measure_memory_rates,
    measure_product_rate,
    measure_rate,
    read_cache_bytes,
    read_free_bytes,
)

MIB = 2**20


def make_clock(*runs_s: float) -> Callable[[], float]:
    """A clock that is read before and after runs that take this long."""
    readings = [reading for run_s in runs_s for reading in (0.0, run_s)]
    return iter(readings).__next__


def test_the_median_and_the_quartiles_by_hand() -> None:
    # The first is the warm-up. Rates 10, 5, 2, 1, 4: in order 1, 2, 4, 5, 10.
    clock = make_clock(9.0, 1.0, 2.0, 5.0, 10.0, 2.5)
    assert measure_rate(lambda: None, 10, clock, repeats=5) == Rate(4.0, 2.0, 5.0)


def test_a_short_run_is_repeated_within_a_reading() -> None:
    calls = []
    rate = measure_rate(lambda: calls.append(1), 10, make_clock(0.001, 0.02, 0.02, 0.02), repeats=3)
    assert len(calls) == 1 + 3 * 10  # a hundredth of a second is ten of the first run
    assert rate.median == pytest.approx(10 * 10 / 0.02)


def test_a_clock_that_stands_still_is_refused() -> None:
    with pytest.raises(UsageError, match="a clock that moves"):
        measure_rate(lambda: None, 10, lambda: 1.0)


def test_arrays_are_beyond_the_cache_and_within_a_tenth_of_the_memory() -> None:
    assert choose_array_bytes(32 * MIB, 100_000 * MIB) == 128 * MIB
    assert choose_array_bytes(32 * MIB, 1_000 * MIB) == 100 * MIB
    assert choose_array_bytes(None, None) == 256 * MIB
    with pytest.raises(UsageError, match=r"expected 640 MiB free.*of 32 MiB.*found 639 MiB"):
        choose_array_bytes(32 * MIB, 639 * MIB)


def test_the_last_cache_is_the_largest(tmp_path: Path) -> None:
    assert read_cache_bytes(tmp_path) is None
    for number, size in enumerate(("32K", "1024K", "32M", "", "odd")):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(size + "\n")
    assert read_cache_bytes(tmp_path) == 32 * MIB


def test_free_memory_is_what_is_available(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    assert read_free_bytes(file) is None
    file.write_text("MemTotal:  2048 kB\nMemFree:  17 kB\nMemAvailable:    1024 kB\n")
    assert read_free_bytes(file) == MIB
    file.write_text("MemTotal:  2048 kB\n")
    assert read_free_bytes(file) is None


def test_a_product_counts_its_operations_and_bytes() -> None:
    size = ProductSize(2, 3, 5)
    assert size.operations == 60
    assert size.bytes_moved == 4 * (6 + 15 + 10)
    assert ProductSize(2, 3, 5, "bfloat16").bytes_moved == 2 * (6 + 15 + 10)


def test_memory_is_read_and_copied_by_any_number_of_threads() -> None:
    for threads in (1, 3):
        rates = measure_memory_rates(1_000_000, threads, repeats=3)
        assert all(0 < rate.low <= rate.median <= rate.high for rate in rates)


def test_everything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "read_cache_bytes", lambda: 10_000)
    sizes = [ProductSize(16, 32, 8), ProductSize(16, 32, 8, "bfloat16")]
    found = measure_ceilings(sizes)
    assert list(found.products) == sizes
    assert found.array_bytes == 40_000
    assert found.threads == ceilings.count_cores() >= 1
    assert found.peak_operations_per_s == max(rate.median for rate in found.products.values()) > 0
    with pytest.raises(UsageError, match="at least one product"):
        measure_ceilings([])


def test_a_product_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "read_free_bytes", lambda: 100 * MIB)
    with pytest.raises(UsageError, match=r"a tenth of the 100 MiB that are free, it takes 12 MiB"):
        measure_product_rate(ProductSize(1024, 1024, 1024))
