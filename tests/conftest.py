"""What all tests share: a quiet TensorFlow, and a cache of its own for each session."""

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
