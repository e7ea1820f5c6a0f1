"""Training with windows of random lengths: the rate in proportion, every token once, resumed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_timecycle.errors import Interrupted
from llm_timecycle.reference.windows import scale_rate
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.batches import Lanes
from llm_timecycle.training.signals import StopRequest
from tests.training.test_loop import (
    IDS,
    StopAfter,
    make_loop,
    make_run,
    read_final_tensors,
    read_losses,
    read_rows,
)

VARIED: dict[str, Any] = {"vary_sequence_length": True, "log_every": 1, "epochs": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = make_run(tmp_path_factory.mktemp("whole") / "run", **VARIED)
    make_loop(run).train()
    return run


def test_the_rate_of_each_step_is_in_proportion_to_its_window(whole: Run) -> None:
    """Fails where windows do not vary, and where the rate does not follow them."""
    rows = read_rows(whole)
    tokens = np.diff([0, *(int(row["tokens"]) for row in rows)])
    rates = [float(row["learning_rate"]) for row in rows]
    assert len(set(tokens)) > 2
    expected = [scale_rate(0.02, int(count) // 4, window=10) for count in tokens]
    assert rates == pytest.approx(expected)


def test_two_epochs_read_every_token_twice(whole: Run) -> None:
    assert read_rows(whole)[-1]["tokens"] == str(2 * 4 * 74)
    lanes = Lanes(IDS[:300], 4, 10, width_seed=1)
    assert len(read_rows(whole)) == 2 * lanes.steps_per_epoch
    tokens = [int(row["tokens"]) for row in read_rows(whole)]
    assert tokens == [lanes.count_predictions(step) for step in range(1, len(tokens) + 1)]


def test_a_run_stopped_twice_and_resumed_is_the_same_run(whole: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", **VARIED)
    for steps in (3, 6):  # in the first epoch, and in the second
        request = StopRequest()
        stop = StopAfter(request, steps, signal.SIGINT)
        with pytest.raises(Interrupted):
            make_loop(run, callbacks=[stop], request=request).train()
    make_loop(run).train()
    assert read_final_tensors(run) == read_final_tensors(whole)
    assert read_losses(run) == read_losses(whole)
