"""What adding over workers takes, and what a network would make of it.

A ring of W workers adds S bytes in 2 (W - 1) rounds; in each, every worker sends S / W bytes:

    t(W, S) = latency 2 (W - 1) + sent / bandwidth,  sent = 2 (W - 1) / W S

Latency and bandwidth are fitted to vectors of several sizes, so that two workers are enough to tell
one from the other. The fit minimises squared relative errors of the medians; what it misses,
noise and misfit alike, gives the 95 % intervals.

Sources: Hockney 1994, "The communication challenge for MPP", for latency and bandwidth; Patarasuk
and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.estimators import CONFIDENCE, Floats, compute_t_quantile
from llm_timecycle.profiling.worker_results import (
    CommunicationFit,
    NetworkStep,
    count_sent_bytes,
)

FEWEST_SUMS = 3  # one more than latency and bandwidth
RATES_GBIT_PER_S = (1.0, 10.0, 100.0)


def fit_communication(timings_s: Mapping[tuple[int, int], Sequence[float]]) -> CommunicationFit:
    """Fit latency and bandwidth to repeated timings of sums.

    Args:
        timings_s: seconds of adding S bytes over W workers, by (W, S); three pairs or more.

    Raises:
        UsageError: too few pairs, fewer than two workers, or a number that is not above 0.

    >>> sums = {(2, size): [2 * 0.001 + size / 1e9] for size in (1_000, 100_000, 10_000_000)}
    >>> fit = fit_communication(sums)
    >>> round(fit.latency_s, 6), round(fit.bandwidth_bytes_per_s / 1e9, 3)
    (0.001, 1.0)
    """
    if len(timings_s) < FEWEST_SUMS:
        raise UsageError(
            f"timings: expected at least {FEWEST_SUMS} sums, received {len(timings_s)}. "
            "Measure more sizes."
        )
    for (workers, size), taken in timings_s.items():
        if workers < 2 or not all(0 < number < math.inf for number in (size, *taken)):
            raise UsageError(
                f"timings: expected 2 workers or more, bytes and seconds above 0, received "
                f"{workers} workers and {size} bytes."
            )
    times_s = np.array([median(taken) for taken in timings_s.values()])
    rounds = np.array([2.0 * (workers - 1) for workers, _ in timings_s])
    sent_bytes = np.array([count_sent_bytes(*pair) for pair in timings_s])
    (latency_s, latency_error_s), (byte_s, byte_error_s) = _fit(rounds, sent_bytes, times_s)
    return CommunicationFit(
        latency_s=latency_s,
        latency_low_s=max(latency_s - latency_error_s, 0.0),
        latency_high_s=latency_s + latency_error_s,
        bandwidth_bytes_per_s=_invert(byte_s),
        bandwidth_low=_invert(byte_s + byte_error_s),
        bandwidth_high=_invert(byte_s - byte_error_s),
        workers=tuple(sorted({workers for workers, _ in timings_s})),
    )


def _fit(
    rounds: Floats, sent_bytes: Floats, times_s: Floats
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds of a round and of a byte, neither below 0, each with half its 95 % interval."""
    units = np.array([rounds.max(), sent_bytes.max()])
    # Rows that should be 1: a relative error is what one of them misses.
    parts = np.stack([rounds, sent_bytes], axis=1) / units / times_s[:, np.newaxis]
    ones = np.ones(len(times_s))
    fitted = [0, 1]
    solved = np.linalg.lstsq(parts, ones)[0]
    if solved.min() < 0:
        fitted = [int(solved.argmax())]
        solved = np.linalg.lstsq(parts[:, fitted], ones)[0]
    used = parts[:, fitted]
    spare = len(times_s) - len(fitted)
    variance = float(((ones - used @ solved) ** 2).sum()) / spare
    errors = np.sqrt(variance * np.linalg.inv(used.T @ used).diagonal())
    wide = compute_t_quantile((1 + CONFIDENCE) / 2, spare)
    values, halves = np.zeros(2), np.zeros(2)
    values[fitted], halves[fitted] = solved / units[fitted], wide * errors / units[fitted]
    return (float(values[0]), float(halves[0])), (float(values[1]), float(halves[1]))


def _invert(byte_s: float) -> float:
    return 1 / byte_s if byte_s > 0 else math.inf


def predict_steps(
    alone_s: Mapping[int, float], fit: CommunicationFit, summed_bytes: int
) -> list[NetworkStep]:
    """Steps of W machines on networks of `RATES_GBIT_PER_S`, by a model.

        step(W, R) = alone(W) + t(W, S) + sent(W, S) / R

    Every machine is as fast as this one, and what the sum takes between processes here, where
    nothing has to travel, is what it takes between machines apart from the network's time. The
    network's own latency is left out, and nothing overlaps.

    Args:
        alone_s: seconds of a step with the lanes of one of W workers, by W; 1 among them.
        fit: of the sums on this machine. summed_bytes: S.
    """
    return [
        NetworkStep(workers, rate, step_s, alone_s[1] / step_s)
        for workers in sorted(alone_s)
        if workers > 1
        for rate in RATES_GBIT_PER_S
        for step_s in [
            alone_s[workers]
            + fit.predict_s(workers, summed_bytes)
            + count_sent_bytes(workers, summed_bytes) / (rate * 1e9 / 8)
        ]
    ]
