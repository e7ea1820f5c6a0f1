"""The examples in the docstrings of the time view run and say what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "amdahl",
        "ceilings",
        "charts",
        "cycle_diagram",
        "growing",
        "growth",
        "growth_reasons",
        "log_charts",
        "quantiles",
        "roofline",
        "sharing",
        "step_estimate",
        "step_memory",
        "svg",
        "timings",
        "units",
        "work",
    ],
)
def test_every_example_runs(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"llm_timecycle.timecycle.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
