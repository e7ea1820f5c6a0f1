"""The examples in the docstrings of generation run and say what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    ["beam", "keeping", "numpy_engine", "overriding", "sampling", "scoring", "stopping", "times"],
)
def test_every_example_runs(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"llm_timecycle.generation.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
