"""Learning rates against values worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.training.progress import Progress, explain_early_stop
from llm_timecycle.training.schedules import Plan, compute_rate


def test_constant_stays() -> None:
    settings = TrainingSettings(learning_rate=0.5, schedule="constant", warmup_steps=0)
    assert [
        compute_rate(settings, step, Plan(0, 10, settings.warmup_steps), 1.0) for step in (0, 5, 9)
    ] == [0.5] * 3


def test_warm_up_rises_in_equal_steps_to_the_rate() -> None:
    settings = TrainingSettings(learning_rate=1.0, warmup_steps=4)
    rates = [
        compute_rate(settings, step, Plan(0, 10, settings.warmup_steps), 1.0) for step in range(5)
    ]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_goes_from_the_rate_to_zero_after_the_warm_up() -> None:
    settings = TrainingSettings(learning_rate=2.0, schedule="cosine", warmup_steps=2)
    rates = [
        compute_rate(settings, step, Plan(0, 10, settings.warmup_steps), 1.0)
        for step in (2, 4, 6, 8, 10)
    ]
    # x = 0, 1/4, 1/2, 3/4, 1; 1 + cos(pi/4) = 1.70710678
    assert rates == pytest.approx([2.0, 1.70710678, 1.0, 0.29289322, 0.0], abs=1e-8)


def test_linear_goes_straight_to_zero_after_the_warm_up() -> None:
    settings = TrainingSettings(learning_rate=2.0, schedule="linear", warmup_steps=2)
    rates = [
        compute_rate(settings, step, Plan(0, 10, settings.warmup_steps), 1.0)
        for step in (2, 4, 6, 8, 10)
    ]
    assert rates == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0])


def test_trapezoidal_is_constant_and_then_linear() -> None:
    settings = TrainingSettings(learning_rate=2.0, schedule="trapezoidal", decay_fraction=0.25)
    rates = [compute_rate(settings, step, Plan(0, 8, 0), 1.0) for step in range(9)]
    assert rates == pytest.approx([2.0] * 7 + [1.0, 0.0])


def test_plateau_multiplies_once_patience_is_used_up() -> None:
    settings = TrainingSettings(
        learning_rate=1.0, schedule="plateau", plateau_factor=0.1, plateau_patience=1
    )
    progress = Progress()
    scales = []
    for loss in (3.0, 3.5, 3.5, 2.0, 2.5, 2.5, 2.5):
        progress.note_validation(loss, settings)
        scales.append(progress.plateau_scale)
    assert scales == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01])
    assert compute_rate(settings, 50, Plan(0, 100, 0), progress.plateau_scale) == pytest.approx(
        0.01
    )


def test_patience_counts_validations_without_a_new_best() -> None:
    settings = TrainingSettings(patience=2)
    progress = Progress(step=7)
    assert progress.note_validation(2.0, settings)
    assert not progress.note_validation(2.0, settings)
    assert not progress.is_out_of_patience(settings)
    assert not progress.note_validation(2.1, settings)
    assert progress.is_out_of_patience(settings)
    assert (progress.best_loss, progress.best_step) == (2.0, 7)
    assert not progress.is_out_of_patience(TrainingSettings())


def test_a_budget_that_reads_a_text_often_has_a_patience_without_being_told() -> None:
    progress, budget = Progress(), TrainingSettings(minutes=60.0)
    assert progress.find_patience(budget, epochs=41.0) == 10
    assert progress.find_patience(budget, epochs=40.0) is None
    assert progress.find_patience(TrainingSettings(epochs=100), epochs=100.0) is None
    own = TrainingSettings(minutes=60.0, patience=3)
    assert progress.find_patience(own, epochs=500.0) == 3


def test_an_early_stop_says_what_to_do() -> None:
    progress = Progress(step=900, best_step=300, validations_since_best=10, active_s=540.0)
    line = explain_early_stop(progress, TrainingSettings(minutes=60.0), Path("runs/a b"))
    assert "stopped early after step 900: 10 validations without improvement since step 300" in line
    # 300 of 900 steps in 540 s are learned in 180 s.
    assert "learned in 3 min: a new run with training.minutes=3" in line
    short = explain_early_stop(progress, TrainingSettings(minutes=3.0), Path("runs/a b"))
    assert "llm-timecycle train 'runs/a b' --resume --set training.patience=20" in short
