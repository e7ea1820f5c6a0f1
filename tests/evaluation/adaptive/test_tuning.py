"""Tuning takes the best of what it tries, and says what it tried."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm_timecycle.evaluation.adaptive.dynamic import Adaptation
from llm_timecycle.evaluation.adaptive.neural_cache import CacheReach
from llm_timecycle.evaluation.adaptive.scoring import Predictions
from llm_timecycle.evaluation.adaptive.tuning import (
    FIRST_DECAY,
    FIRST_RATE,
    SHARPNESS,
    WEIGHTS,
    WINDOWS,
    list_reaches,
    tune_adaptation,
    tune_cache,
)


def test_the_cache_with_the_lowest_loss_wins() -> None:
    """By hand: the second candidate is right on every second token, so lambda = 0.5 is too much."""
    losses = -np.log(np.full(4, 0.25))
    cached = np.array([[0.0, 0, 0, 0], [0.9, 0.0, 0.9, 0.0]])
    reaches = [CacheReach(500, 0.1), CacheReach(500, 0.2)]
    settings, trials = tune_cache(Predictions(losses, cached, np.zeros(4, bool)), reaches)
    means = {
        w: -(math.log(0.25 * (1 - w) + 0.9 * w) + math.log(0.25 * (1 - w))) / 2 for w in WEIGHTS
    }
    best = min(means, key=means.__getitem__)
    assert (settings.reach, settings.weight) == (reaches[1], best)
    assert trials[1].loss_nats_per_token == pytest.approx(means[best])
    assert trials[0].settings == {"window": 500, "theta": 0.1, "weight": WEIGHTS[0]}


def test_candidates_fit_the_length_of_the_hidden_vectors() -> None:
    reaches = list_reaches(np.full((10, 4), 2.0, np.float32))  # |h|^2 = 16
    assert len(reaches) == len(WINDOWS) * len(SHARPNESS)
    assert [reach.theta for reach in reaches[:3]] == [0.0625, 0.125, 0.25]


def test_adaptation_is_found_by_steps_and_a_divergence_is_passed_by() -> None:
    tried = []

    def measure(adaptation: Adaptation) -> float:
        tried.append(adaptation)
        rate, decay = adaptation.rate / FIRST_RATE, adaptation.decay / FIRST_DECAY
        if rate > 4:
            return math.nan
        return abs(math.log2(rate) - 2) + abs(math.log2(decay) + 1)

    best, trials = tune_adaptation(measure, segment=5)
    assert best == Adaptation(4 * FIRST_RATE, FIRST_DECAY / 2)
    assert len(trials) == len(tried) == len(set(tried)) == 7
    assert max(trial.loss_nats_per_token for trial in trials) == math.inf


def test_longer_segments_start_from_larger_steps() -> None:
    best, _ = tune_adaptation(lambda adaptation: 1.0, segment=20)
    assert best == Adaptation(4 * FIRST_RATE, 4 * FIRST_DECAY)
