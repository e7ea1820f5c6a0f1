"""Every public function of the reference shows how it is called."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import llm_timecycle.reference

MODULES = [module.name for module in pkgutil.iter_modules(llm_timecycle.reference.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_has_an_example(name: str) -> None:
    module = importlib.import_module(f"llm_timecycle.reference.{name}")
    without = [
        function.__name__
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not function.__name__.startswith("_")
        and ">>>" not in (function.__doc__ or "")
    ]
    assert without == []
