"""Learning rates: the default peak, and the schedules as pure functions of the step."""

from __future__ import annotations

import math

from llm_timecycle.config.settings import TrainingSettings


def choose_learning_rate(optimizer: str, hidden_units: int) -> float:
    """The peak learning rate where the settings have none.

        sgd:   1
        else:  min(3 / H, 0.016)

    The best rate falls with the width of the layers, since a step changes each weight by about the
    rate, and a gate adds up H such changes (Yang et al. 2022, "Tensor Programs V"). The constants
    were measured on characters and words; see docs/results.md.

    >>> choose_learning_rate("adam", 512)
    0.005859375
    """
    return 1.0 if optimizer == "sgd" else min(3.0 / hidden_units, 0.016)


def compute_rate(settings: TrainingSettings, step: int, steps: int, plateau_scale: float) -> float:
    """The learning rate of step `step` (counted from 0) in a run of `steps` steps.

        warm-up:   rate (step + 1) / warmup_steps              while step < warmup_steps
        constant:  rate
        cosine:    rate (1 + cos(pi x)) / 2,  x = (step - warmup_steps) / (steps - warmup_steps)
        linear:    rate (1 - x)
        trapezoidal:  rate min(1, (1 - x) / decay_fraction)
        plateau:   rate plateau_scale

    Sources: cosine, Loshchilov and Hutter 2017, "SGDR", equation 5 with one period; trapezoidal,
    Zhai et al. 2022, "Scaling Vision Transformers", section 3.5, with a linear decay.

    >>> compute_rate(TrainingSettings(learning_rate=0.1, warmup_steps=4), 1, 100, 1.0)
    0.05
    """
    rate = settings.learning_rate
    assert rate is not None, "the settings are not filled in yet"
    if step < settings.warmup_steps:
        return rate * (step + 1) / settings.warmup_steps
    x = min((step - settings.warmup_steps) / max(steps - settings.warmup_steps, 1), 1.0)
    scales = {
        "constant": 1.0,
        "cosine": (1.0 + math.cos(math.pi * x)) / 2.0,
        "linear": 1.0 - x,
        "trapezoidal": min(1.0, (1.0 - x) / settings.decay_fraction),
        "plateau": plateau_scale,
    }
    return rate * scales[settings.schedule]
