"""Amdahl's law: the speed-up of more workers, and the part of the work that they cannot share.

    t(n) = t(1) (s + (1 - s) / n),  speed-up = t(1) / t(n) -> 1 / s,  efficiency = speed-up / n

s is the serial fraction, from 0 (all work is shared) to 1 (none is). Its 95 % interval holds every
s that a score test does not reject, as in `power_law`: the noise is known from the repeats at each
number of workers.

Source: Amdahl 1967, "Validity of the single processor approach to achieving large scale computing
capabilities".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.estimators import (
    centre,
    measure_misfit,
    score_candidates,
    summarize_timings,
)
from llm_timecycle.profiling.results import AmdahlFit

FEWEST_COUNTS = 2  # as many as the parameters fitted: t(1) and s
_CANDIDATES = np.linspace(0.0, 1.0, 2_001)


def fit_amdahl(timings_s: Mapping[int, Sequence[float]]) -> AmdahlFit:
    """Fit Amdahl's law to repeated timings of the same work.

    Args:
        timings_s: at 1 worker and at least one more number of them, at least five timings each.

    Raises:
        UsageError: too few of either, no timings of one worker, or a number not above 0.

    >>> fit = fit_amdahl({n: [0.2 + 0.8 / n] * 5 for n in (1, 2, 4)})
    >>> fit.serial_fraction, round(fit.predict_speed_up(4), 3)
    (0.2, 2.5)
    """
    if 1 not in timings_s:
        raise UsageError(
            f"timings: expected those of 1 worker, received {sorted(timings_s)}. Measure 1 too."
        )
    times = summarize_timings({float(n): ts for n, ts in timings_s.items()}, FEWEST_COUNTS)
    s = _CANDIDATES[:, np.newaxis]
    curves = s + (1 - s) / times.sizes  # (K, S)
    # The mean of each row is what t(1), at its best, takes off.
    residuals = centre(times.log_times - np.log(curves))
    slopes = centre((1 - 1 / times.sizes) / curves)
    best = int((residuals**2).sum(axis=-1).argmin())
    misfit = measure_misfit(residuals[best], 2, times)
    is_accepted = np.abs(score_candidates(slopes, residuals, times)) <= misfit
    is_accepted[best] = True
    accepted = _CANDIDATES[is_accepted]
    return AmdahlFit(
        serial_fraction=float(_CANDIDATES[best]),
        serial_low=float(accepted[0]),
        serial_high=float(accepted[-1]),
    )
