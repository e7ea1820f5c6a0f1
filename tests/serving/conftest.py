"""Runs with random weights, and one server for them that the tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llm_timecycle.runs.directory import Run
from tests.cli.random_runs import make_run
from tests.serving.servers import RunningServer, start_server

TEXTS = {
    "char": "abc defg.\n中文",
    "word": "once upon a time there was a cat\n",
    "byte": "any text",
    "subword": "the cat sat on the mat and the rat 中文中文",
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run for each level."""
    root = tmp_path_factory.mktemp("served")
    return {level: make_run(root / level, level, text) for level, text in TEXTS.items()}


@pytest.fixture(scope="session")
def server(runs: dict[str, Run]) -> Iterator[RunningServer]:
    """A server of all of them; `char` is the first."""
    paths = [run.path for run in runs.values()]
    with start_server(*paths, "--metrics", "--max-batch", "8") as running:
        yield running
