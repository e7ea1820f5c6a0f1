"""Stages and layers under the roof: their counts, their ceiling, and a ceiling that is a rate."""

from __future__ import annotations

import doctest
import itertools

import pytest

from llm_timecycle import system as machine
from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.profiling.analysis import placing
from llm_timecycle.profiling.analysis.flops import add_work, count_step_work
from llm_timecycle.profiling.measure import machine_limits as ceilings
from tests.profiling.profiles import make_cycle, spread

MODEL = ModelSettings(embedding_dim=4, hidden_units=8, num_layers=1)
V = 30
CEILINGS = {"float32": 1e9, "bfloat16": 2e9, "read": 3e9, "copy": 2e9}


def make_settings(precision: str = "float32") -> Settings:
    training = TrainingSettings(batch_size=8, sequence_length=16, precision=precision)
    return Settings(model=MODEL, training=training)


def test_each_stage_and_layer_has_its_own_work_and_time() -> None:
    points = {p.name: p for p in placing.place_step(make_cycle(), make_settings(), V, CEILINGS)}
    works = count_step_work(MODEL, V, batch_size=8, sequence_length=16)
    assert points["forward"].operations == add_work(works, stage="forward").operations
    assert points["forward"].measured_s == 0.1
    layer = add_work(works, layer="lstm_1", stage="backward")
    found = points["lstm_1 backward"]
    assert (found.operations, found.bytes_moved) == (layer.operations, layer.bytes_moved)
    assert found.measured_s == 0.11
    assert found.roofline.peak_operations_per_s == 1e9
    assert found.roofline.bandwidth_bytes_per_s == 3e9
    assert list(points)[:3] == ["forward", "backward", "update"]
    assert len(points) == 3 + 6


def test_lower_precision_has_the_ceiling_of_its_type_and_moves_less() -> None:
    lower = placing.place_step(make_cycle(), make_settings("mixed_bfloat16"), V, CEILINGS)
    full = placing.place_step(make_cycle(), make_settings(), V, CEILINGS)
    assert lower[0].roofline.peak_operations_per_s == 2e9
    assert lower[0].bytes_moved < full[0].bytes_moved
    assert lower[0].operations == full[0].operations


def test_a_pass_that_noise_made_nothing_of_is_left_out() -> None:
    cycle = make_cycle()
    cycle.layers["output"]["backward"] = spread(0.0)
    names = [p.name for p in placing.place_step(cycle, make_settings(), V, CEILINGS)]
    assert "output backward" not in names
    assert "output forward" in names


def test_ceilings_are_measured_for_both_types_and_both_ways(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placing, "choose_array_bytes", lambda cache, free: 1 << 20)
    ticks = itertools.count()
    found = placing.measure_machine_ceilings(make_settings(), V, 2, now=lambda: float(next(ticks)))
    # Every run takes one tick of this clock: the largest product is counted, in both parts.
    assert found["float32"] == found["bfloat16"] == 2 * 2 * 512**3
    assert found["read"] == 1 << 20
    assert found["copy"] == 1 << 20  # half an array onto the other half, both ways


def test_too_little_memory_is_told_before_products_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placing, "read_free_bytes", lambda: 1 << 20)
    monkeypatch.setattr(placing, "read_largest_cache_bytes", lambda: 32 << 20)
    with pytest.raises(ceilings.UsageError, match="expected 640 MiB free"):
        placing.measure_machine_ceilings(make_settings(), V, 2)


def test_the_machine_is_named_by_its_processor_and_not_by_its_host(tmp_path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: Some CPU\n")
    found = machine.describe_machine(file)
    assert found["processor"] == "Some CPU @ 3 GHz"
    assert found["cores"] >= 1
    assert list(found) == ["processor", "cores", "memory_bytes", "system"]
    assert machine.describe_machine(tmp_path / "none")["processor"]
    assert machine.describe_machine_briefly({}) == "unknown processor"
    assert {"llm_timecycle", "python", "tensorflow"} <= machine.read_versions().keys()


@pytest.mark.parametrize("module", [machine, placing])
def test_every_example_runs(module) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
