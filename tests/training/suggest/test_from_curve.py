"""What the course of a training suggests: hand-made curves, one finding at most."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.training.suggest.from_curve import (
    Finding,
    Point,
    compute_guessing_loss,
    predict_gain,
    review_curve,
)

GUESSING = Point(0, valid_loss=3.0, train_loss=2.5)
LONGER = ("training.epochs=20",)


def review(
    losses: list[float], train: list[float] | None = None, dropout: float = 0.2, rate: float = 0.01
) -> Finding | None:
    """The finding for validations every 100 steps, of a model whose usual rate is 0.01."""
    curve = [
        Point(100 * number, loss, 2.0 - number / 100 if train is None else train[number - 1])
        for number, loss in enumerate(losses, 1)
    ]
    settings = Settings(
        model=ModelSettings(hidden_units=300, dropout=dropout),
        training=TrainingSettings(learning_rate=rate),
    )
    return review_curve(curve, settings, GUESSING, LONGER)


def test_a_curve_that_falls_to_its_end_wants_more() -> None:
    # At a quarter, half and the whole: 2.6, 2.4, 2.2. Twice the training gains
    # min(0.49 * 0.2, 0.7 * 0.2) = 0.098 nats, and exp(-0.098) = 0.9066.
    finding = review([2.6, 2.4, 2.3, 2.2])
    assert finding is not None
    assert "still improving" in finding.text
    assert finding.text.endswith("lower the perplexity by about 9 %")
    assert finding.longer == LONGER


@pytest.mark.parametrize(
    "losses",
    [
        [2.6, 2.2, 2.18, 2.175],  # 0.7 * 0.025 is less than 2 %
        [2.02, 2.0, 1.9, 1.8],  # the fall at the end is that of the learning rate
        [2.6, 2.2],  # too few to know
        [2.6],
        [],
        [2.6, 2.2, 2.1, 2.11],  # one validation after the best may be an outlier
        [2.6, 2.1, 2.105, 2.11],  # 1 % of the perplexity
    ],
)
def test_nothing_is_said_where_all_is_well_or_little_is_known(losses: list[float]) -> None:
    assert review(losses) is None


def test_a_curve_that_rises_was_learned_by_heart() -> None:
    finding = review([2.6, 2.1, 2.2, 2.3])
    assert finding is not None
    assert "rose after step 200 (from 2.100 to 2.300)" in finding.text
    assert "learned by heart; the weights of step 200 are kept" in finding.text
    assert "more model.dropout (now 0.2), or stop earlier" in finding.text
    assert not finding.longer


def test_more_dropout_than_half_is_not_advised() -> None:
    finding = review([2.6, 2.1, 2.2, 2.3], dropout=0.5)
    assert finding is not None
    assert "dropout" not in finding.text
    assert "A smaller model, more text or fewer epochs" in finding.text


def test_where_the_training_loss_rises_too_the_rate_is_to_blame() -> None:
    finding = review([2.6, 2.1, 2.4, 2.7], train=[2.5, 2.0, 2.3, 2.6])
    assert finding is not None
    assert "became unstable; the weights of step 200 are kept" in finding.text
    assert "Lower training.learning_rate" in finding.text
    assert "by heart" not in finding.text


@pytest.mark.parametrize(
    ("rate", "change"), [(1.0, "lower"), (0.01, "lower"), (0.0009, "raise"), (0.0011, "lower")]
)
def test_worse_than_guessing_blames_the_rate(rate: float, change: str) -> None:
    # Still falling, which is not told; in training as good as guessing, but for the noise.
    finding = review([3.6, 3.3, 3.2, 3.1], train=[3.4, 2.8, 2.7, 2.46], rate=rate)
    assert finding is not None
    assert "(3.1 nats) is worse than guessing by token frequency (3)" in finding.text
    assert f"{change} training.learning_rate (now {rate:.2g}; the default is 0.01)" in finding.text
    assert not finding.longer


def test_worse_than_guessing_after_good_training_blames_the_size_of_the_text() -> None:
    finding = review([3.1, 3.3, 3.6], train=[2.6, 2.0, 1.5])
    assert finding is not None
    assert "(3.1 nats) is worse than guessing by token frequency (3)" in finding.text
    assert "the training loss (1.5) is better (2.5)" in finding.text
    assert finding.text.endswith("Train on more text, or a smaller model")
    assert "learning_rate" not in finding.text


def test_hardly_worse_than_guessing_is_not_blamed() -> None:
    assert review([3.01]) is None


@given(st.lists(st.floats(0.1, 9.0), max_size=12), st.floats(0.1, 9.0))
def test_any_curve_has_at_most_one_finding(losses: list[float], guessing: float) -> None:
    curve = [Point(number, loss, None) for number, loss in enumerate(losses, 1)]
    settings = Settings(training=TrainingSettings(learning_rate=0.01))
    finding = review_curve(curve, settings, Point(0, guessing, None), LONGER)
    if finding is not None:
        kinds = ("worse than guessing", "unstable", "by heart", "still improving")
        assert sum(kind in finding.text for kind in kinds) == 1
        assert bool(finding.longer) == ("still improving" in finding.text)
        assert "\n" not in finding.text


@given(st.floats(0.05, 0.5), st.floats(0.5, 5.0), st.integers(1, 4))
def test_a_power_law_gains_at_most_what_is_predicted_for_its_exponent(
    exponent: float, size: float, spacing: int
) -> None:
    # L = size n^-a with a <= 1/2: the gain is never overestimated, for any spacing.
    steps = np.arange(spacing, 100 * spacing + 1, spacing)
    curve = [Point(int(step), size * float(step) ** -exponent, None) for step in steps]
    end = int(steps[-1])
    gain = size * (end**-exponent - (2 * end) ** -exponent)
    assert 0 < predict_gain(curve) <= gain * 1.01


def test_losses_between_validations_are_on_a_line() -> None:
    # At 25, 50 and 100 the line has 3.0, 2.5 and 2.0.
    curve = [Point(10, 3.3, None), Point(60, 2.3, None), Point(100, 2.0, None)]
    assert predict_gain(curve) == pytest.approx(min(0.49 * 0.5, 0.7 * 0.5))


def test_guessing_is_the_cross_entropy_with_smoothed_frequencies() -> None:
    # Counts 3, 0, 1 become shares 4/7, 1/7, 2/7; the validation text has tokens 0, 0, 1, 2.
    loss = compute_guessing_loss(np.array([3, 0, 1]), np.array([2, 1, 1]))
    expected = -(2 * math.log(4 / 7) + math.log(1 / 7) + math.log(2 / 7)) / 4
    assert loss == pytest.approx(expected, rel=1e-12)
