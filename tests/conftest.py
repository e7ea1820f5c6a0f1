"""What all tests share: a quiet TensorFlow, a cache of its own for each session, a quick timing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests' token stores away from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TIMECYCLE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def _quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time the machine, for the settings of a text, with products that take no time."""
    from llm_timecycle.model import precision
    from llm_timecycle.training import devices

    monkeypatch.setattr(precision, "RACE_S", 0.0)
    monkeypatch.setattr(devices, "RATE_SHAPE", (64, 32, 128))
