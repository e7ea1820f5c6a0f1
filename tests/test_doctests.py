"""The examples in docstrings are run; reference/ and generation/ have tests of their own for it."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "cli.terminal",
        "clock",
        "config.parameters",
        "evaluation.stream",
        "text.python_docs",
        "training.metrics",
        "training.schedules",
    ],
)
def test_examples_give_what_they_say(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"llm_timecycle.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
