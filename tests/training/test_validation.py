"""Validation during training: how long it is expected to take."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from llm_timecycle.clock import ActiveClock
from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.model.network import build_network
from llm_timecycle.training.validation import Validator
from llm_timecycle.training.workers.workers import ALONE

WINDOWS = 100


class Machine:
    """A clock on which every window takes a second, and one of them fifteen."""

    def __init__(self, slow_window: int) -> None:
        self.now_s, self._windows, self._slow_window = 0.0, itertools.count(), slow_window

    def check(self) -> None:
        """Called after each window."""
        self.now_s += 15.0 if next(self._windows) == self._slow_window else 1.0


@pytest.mark.parametrize("slow_window", [0, 6, 12])
def test_a_moment_of_other_work_is_not_counted_for_every_window(slow_window: int) -> None:
    settings = Settings(
        model=ModelSettings(embedding_dim=2, num_layers=1, hidden_units=2),
        training=TrainingSettings(batch_size=2, sequence_length=16),
    )
    machine = Machine(slow_window)
    validator = Validator(
        SimpleNamespace(network=build_network(settings.model, 5, seed=1), shards=1, workers=ALONE),
        settings,
        np.zeros(2 * 16 * WINDOWS + 1, np.int64),
        ActiveClock(0.0, lambda: machine.now_s),
        machine,
    )
    slack_s = 15.0 if slow_window >= 4 else 0.0  # the first four compile, and are not counted
    assert validator.estimate_s() == pytest.approx(WINDOWS + slack_s, abs=2.0)
