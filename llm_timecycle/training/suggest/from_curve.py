"""What the course of a training suggests for the next one: at most one thing, or nothing.

Pure: a curve of losses, settings, the losses of guessing. The first of these that holds is told:

    worse than guessing   no validation was better than guessing by token frequency: the learning
                          rate is to blame, unless the training loss is better than guessing
    unstable              validation and training loss both rose from some step on
    learned by heart      the validation loss rose from some step on, the training loss did not
    still improving       the end was the best, and twice the training is predicted to be better
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_timecycle.config.settings import Settings
from llm_timecycle.training.schedules import choose_learning_rate

NOTABLE_NATS = 0.02
"""Differences below it are not told: 2 % of the perplexity. Seeds differ by about 0.005."""
TRAINING_NOISE_NATS = 0.05
"""The training loss is the mean over a few steps, each on other text."""
MOST_DROPOUT = 0.5
"""More has not helped on any text."""
DOUBLING = 0.7
"""What a doubling of the training gains, as a share of what the doubling before it gained: 2^-0.5,
for a loss that falls as 1 / sqrt(steps). Loss curves fall about so, or more slowly."""


@dataclass(frozen=True)
class Point:
    """A row of the run log that has a validation."""

    step: int
    valid_loss: float
    """Nats a token."""
    train_loss: float | None
    """Mean of the steps logged last; None where none was."""


@dataclass(frozen=True)
class Finding:
    """One thing that stands out in a training, and what would help."""

    text: str
    """A sentence without its full stop."""
    longer: tuple[str, ...] = ()
    """With which settings, each as KEY=VALUE, the run would go on; none where that would not
    help."""


def review_curve(
    curve: Sequence[Point], settings: Settings, guessing: Point, longer: tuple[str, ...]
) -> Finding | None:
    """What stands out in a finished training; None where all is well, or too little is known.

    Args:
        curve: the validations, in order.
        settings: of the run, as resolved.
        guessing: the losses of guessing by token frequency, which is what a model starts as.
        longer: the settings that would make the run twice as long, each as KEY=VALUE.
    """
    if not curve:
        return None
    best = min(curve, key=lambda point: point.valid_loss)
    last = curve[-1]
    if best.valid_loss > guessing.valid_loss + NOTABLE_NATS:
        return Finding(_explain_no_gain(best, last, settings, guessing))
    after = [point for point in curve if point.step > best.step]
    if len(after) > 1 and last.valid_loss >= best.valid_loss + NOTABLE_NATS:
        return Finding(_explain_rise(best, last, settings))
    gain = predict_gain(curve)
    if best is last and gain >= NOTABLE_NATS:
        return Finding(
            f"Validation was still improving: twice the training would lower the perplexity by "
            f"about {100 * -math.expm1(-gain):.0f} %",
            longer,
        )
    return None


def compute_guessing_loss(train_counts: np.ndarray, counts: np.ndarray) -> float:
    """The loss on a text, in nats a token, of guessing by how often each token occurs in training.

        -sum_v (counts_v / sum counts) log((train_v + 1) / sum(train + 1))

    It is what a model starts as; see `start_from_frequencies`.

    Args:
        train_counts, counts: of each token (V,), in the training text and in the text.

    >>> round(compute_guessing_loss(np.array([2, 0]), np.array([1, 1])), 4)
    0.837
    """
    smoothed = train_counts.astype(np.float64) + 1.0
    log_shares = np.log(smoothed / smoothed.sum())
    return float(-(counts @ log_shares) / counts.sum())


def predict_gain(curve: Sequence[Point]) -> float:
    """Nats that twice the training would gain, from the doublings that it has had.

        gain = min(q^2 (L(n / 4) - L(n / 2)), q (L(n / 2) - L(n)))

    n is the last step, L the validation loss at a step, on lines through the points, and q is
    `DOUBLING`. The second term alone would be too large where the learning rate decays to zero at
    the end, which lowers the loss once; in the first half of a run it has hardly decayed. The first
    one alone would not see that a text has been learned. 0 without a validation in the first
    quarter: then too little is known.

    >>> curve = [Point(step, 2 + step**-0.5, None) for step in (25, 50, 100)]
    >>> round(predict_gain(curve), 6) == round(0.49 * (25**-0.5 - 50**-0.5), 6)
    True
    """
    end = curve[-1].step
    if curve[0].step > end / 4:
        return 0.0
    quarter, half, whole = (_read_loss(curve, step) for step in (end / 4, end / 2, end))
    return max(min(DOUBLING**2 * (quarter - half), DOUBLING * (half - whole)), 0.0)


def _read_loss(curve: Sequence[Point], step: float) -> float:
    """The validation loss at a step, on the line between the points around it."""
    after = next(point for point in curve if point.step >= step)
    if after.step == step:
        return after.valid_loss
    before = [point for point in curve if point.step < step][-1]
    share = (step - before.step) / (after.step - before.step)
    return before.valid_loss + share * (after.valid_loss - before.valid_loss)


def _explain_no_gain(best: Point, last: Point, settings: Settings, guessing: Point) -> str:
    problem = (
        f"The best validation loss ({best.valid_loss:.3g} nats) is worse than guessing by token "
        f"frequency ({guessing.valid_loss:.3g})"
    )
    trained, guessed = last.train_loss, guessing.train_loss
    if trained is not None and guessed is not None and trained < guessed - TRAINING_NOISE_NATS:
        return (
            f"{problem}, and the training loss ({trained:.3g}) is better ({guessed:.3g}): what was "
            f"learned holds for the training text alone. Train on more text, or a smaller model"
        )
    training = settings.training
    rate, usual = (
        training.learning_rate,
        choose_learning_rate(training.optimizer, settings.model.hidden_units),
    )
    change = "raise" if rate is not None and rate < usual / 10 else "lower"
    return (
        f"{problem}: {change} training.learning_rate (now {rate:.2g}; the default is {usual:.2g})"
    )


def _explain_rise(best: Point, last: Point, settings: Settings) -> str:
    rose = f"rose after step {best.step:,} (from {best.valid_loss:.3f} to {last.valid_loss:.3f})"
    kept = f"the weights of step {best.step:,} are kept"
    before, after = best.train_loss, last.train_loss
    if before is not None and after is not None and after > before + TRAINING_NOISE_NATS:
        return (
            f"Validation and training loss {rose}: training became unstable; {kept}. Lower "
            f"training.learning_rate"
        )
    dropout = settings.model.dropout
    remedy = (
        f"Try more model.dropout (now {dropout:g}), or stop earlier"
        if dropout < MOST_DROPOUT
        else "A smaller model, more text or fewer epochs may help"
    )
    return f"The validation loss {rose}: the text was learned by heart; {kept}. {remedy}"
