"""Which engine a request gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines import select
from llm_timecycle.generation.engines.select import choose_engine


@pytest.mark.parametrize("has_gpu", [False, True])
def test_an_engine_named_is_used(has_gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "GPU_DEVICE", Path("/" if has_gpu else "/no/such/device"))
    assert choose_engine("numpy", 128, 10_000) == "numpy"
    assert choose_engine("tensorflow", 1, 1) == "tensorflow"


@pytest.mark.parametrize(
    ("rows", "tokens", "with_gpu"),
    [
        (1, 100, "numpy"),
        (1, 11_000, "numpy"),  # 9.2 s at 1,200 tokens/s
        (1, 13_000, "tensorflow"),  # 10.8 s
        (8, 3_000, "numpy"),  # 8 s
        (100, 500, "tensorflow"),  # 11.1 s at the rate of 32 rows
        (200, 200, "numpy"),  # 6.7 s
    ],
)
def test_tensorflow_is_worth_its_start_only_on_a_gpu(
    rows: int, tokens: int, with_gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "GPU_DEVICE", Path("/"))
    assert choose_engine("auto", rows, tokens) == with_gpu
    monkeypatch.setattr(select, "GPU_DEVICE", Path("/no/such/device"))
    assert choose_engine("auto", rows, tokens) == "numpy"


def test_an_unknown_engine_is_refused() -> None:
    message = "engine: received 'gpu'; expected auto, numpy or tensorflow"
    with pytest.raises(UsageError, match=message):
        choose_engine("gpu", 1, 1)
