"""The roofline of a step: points by hand, and each stage with its FLOPs, bytes and limits."""

from __future__ import annotations

import math

import pytest

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.profiling.analysis.flops import add_costs
from llm_timecycle.profiling.analysis.roofline import compute_roofline
from llm_timecycle.profiling.results import Roofline, RooflinePoint
from tests.profiling.profiles import count_step, make_cycle, spread

MODEL = ModelSettings(embedding_dim=4, hidden_units=8, num_layers=1)
V = 30
LIMITS = {"float32": 1e9, "bfloat16": 2e9, "read": 3e9, "copy": 2e9}
ROOFLINE = Roofline(peak_operations_per_s=200e9, bandwidth_bytes_per_s=20e9)


def test_a_stage_bound_by_memory() -> None:
    point = RooflinePoint("update", 14_000_000, 28_000_000, 0.007, ROOFLINE)
    assert point.intensity == 0.5
    assert point.binding == "memory"
    assert point.bound_s == pytest.approx(0.0014)  # 28 MB at 20 GB/s
    assert point.share == pytest.approx(0.2)
    assert point.operations_per_s == pytest.approx(2e9)
    assert point.bytes_per_s == pytest.approx(4e9)


def test_a_stage_bound_by_computing() -> None:
    point = RooflinePoint("forward", 50_000_000_000, 100_000_000, 0.5, ROOFLINE)
    assert (point.binding, point.intensity) == ("compute", 500)
    assert point.bound_s == pytest.approx(0.25)
    assert point.share == pytest.approx(0.5)


def test_the_roofline_bends_at_the_ridge() -> None:
    assert ROOFLINE.ridge == 10
    assert ROOFLINE.limit_operations_per_s(5) == 100e9
    assert ROOFLINE.limit_operations_per_s(10) == ROOFLINE.limit_operations_per_s(99) == 200e9
    assert RooflinePoint("ridge", 100, 10, 1.0, ROOFLINE).binding == "compute"


def test_copies_compute_nothing_and_registers_move_nothing() -> None:
    gather = RooflinePoint("embedding", 0, 20, 1.0, ROOFLINE)
    assert (gather.binding, gather.intensity, gather.operations_per_s) == ("memory", 0, 0)
    assert RooflinePoint("registers", 20, 0, 1.0, ROOFLINE).intensity == math.inf


def make_settings(precision: str = "float32") -> Settings:
    training = TrainingSettings(batch_size=8, sequence_length=16, precision=precision)
    return Settings(model=MODEL, training=training)


def test_each_stage_and_layer_has_its_flops_bytes_and_time() -> None:
    points = {p.name: p for p in compute_roofline(make_cycle(), make_settings(), V, LIMITS)}
    costs = count_step(MODEL, V, batch_size=8, sequence_length=16)
    assert points["forward"].operations == add_costs(costs, stage="forward").operations
    assert points["forward"].measured_s == 0.1
    layer = add_costs(costs, layer="lstm_1", stage="backward")
    found = points["lstm_1 backward"]
    assert (found.operations, found.bytes_moved) == (layer.operations, layer.bytes_moved)
    assert found.measured_s == 0.11
    assert found.roofline.peak_operations_per_s == 1e9
    assert found.roofline.bandwidth_bytes_per_s == 3e9
    assert list(points)[:3] == ["forward", "backward", "update"]
    assert len(points) == 3 + 6


def test_bfloat16_has_the_peak_of_its_type_and_moves_less() -> None:
    lower = compute_roofline(make_cycle(), make_settings("mixed_bfloat16"), V, LIMITS)
    full = compute_roofline(make_cycle(), make_settings(), V, LIMITS)
    assert lower[0].roofline.peak_operations_per_s == 2e9
    assert lower[0].bytes_moved < full[0].bytes_moved
    assert lower[0].operations == full[0].operations


def test_a_pass_that_noise_brought_down_to_nothing_is_left_out() -> None:
    cycle = make_cycle()
    cycle.layers["output"]["backward"] = spread(0.0)
    names = [p.name for p in compute_roofline(cycle, make_settings(), V, LIMITS)]
    assert "output backward" not in names
    assert "output forward" in names
