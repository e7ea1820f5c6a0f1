"""The options of a training on several machines, as far as they are refused before anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llm_timecycle as lt
from llm_timecycle.errors import ConfigError, UsageError

TWO = "127.0.0.1:4000,127.0.0.1:4001"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--workers", TWO], "--workers needs --worker-index: the addresses of all"),
        (["--worker-index", "0"], "--worker-index needs --workers: the addresses of all"),
        (["--workers", "here", "--worker-index", "0"], "--workers: received 'here'"),
        (["--workers", TWO, "--worker-index", "2"], "--worker-index: received 2"),
    ],
)
def test_a_mistake_is_named_by_its_option(
    call: Callable[..., Any], options: list[str], expected: str
) -> None:
    outcome = call("train", "tiny.yaml", *options)
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith(f"Error: {expected}")


def test_tf_config_takes_the_place_of_the_options(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps"}}')
    outcome = call("train", "tiny.yaml")
    assert outcome.exit_code == 2
    assert "TF_CONFIG is wrong: its task is not a worker with an index" in outcome.stderr


def test_a_text_needs_settings_first(call: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_text("once upon a time ")
    outcome = call("train", "novel.txt", "--workers", TWO, "--worker-index", "0")
    assert outcome.exit_code == 2
    assert "llm-timecycle config suggest novel.txt" in outcome.stderr
    with pytest.raises(UsageError, match="several workers need a file of settings"):
        lt.train("novel.txt", workers=TWO, worker_index=0)


def test_lanes_that_workers_cannot_share_are_refused(tmp_path: Path) -> None:
    settings = lt.Settings(training={"batch_size": 3})
    with pytest.raises(ConfigError, match=r"training\.batch_size: received 3; expected a multiple"):
        lt.train(settings, run=tmp_path / "run", workers=TWO.split(","), worker_index=1)
