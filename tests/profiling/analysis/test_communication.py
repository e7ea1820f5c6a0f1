"""Latency and bandwidth of a sum over workers, and the model of a network: derived by hand."""

from __future__ import annotations

import math

import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.communication import fit_communication, predict_steps
from llm_timecycle.profiling.worker_results import CommunicationFit

SIZES = (31_250, 125_000, 500_000, 2_000_000, 8_000_000)


def reckon_s(workers: int, size: int) -> float:
    """0.5 ms a round and 2 GB/s."""
    return 2 * (workers - 1) * (0.0005 + size / workers / 2e9)


@pytest.mark.parametrize("counts", [(2,), (2, 4, 8)])
def test_the_fit_finds_what_the_times_were_made_of(counts: tuple[int, ...]) -> None:
    fit = fit_communication({(w, s): [reckon_s(w, s)] * 5 for w in counts for s in SIZES})
    assert fit.workers == counts
    assert fit.latency_s == pytest.approx(0.0005)
    assert fit.bandwidth_bytes_per_s == pytest.approx(2e9)
    assert fit.latency_low_s == pytest.approx(fit.latency_high_s)
    assert fit.bandwidth_low == pytest.approx(fit.bandwidth_high)
    # 14 rounds, and 2 x 7 / 8 of 8 MB: 7 ms + 14 MB / 2 GB/s
    assert fit.predict_s(8, 8_000_000) == pytest.approx(0.014)


def test_an_outlier_among_the_timings_changes_nothing() -> None:
    times_s = {(2, s): [reckon_s(2, s)] * 4 + [1.0] for s in SIZES}
    assert fit_communication(times_s).latency_s == pytest.approx(0.0005)


def test_what_the_curve_misses_widens_the_intervals_around_the_truth() -> None:
    for share in (0.01, 0.05):
        off = {s: 1 + share * sign for s, sign in zip(SIZES, (1, -1, 1, -1, 1), strict=True)}
        fit = fit_communication({(2, s): [reckon_s(2, s) * off[s]] * 5 for s in SIZES})
        assert fit.latency_low_s < 0.0005 < fit.latency_high_s
        assert fit.bandwidth_low < 2e9 < fit.bandwidth_high
        # Three spare sizes: t = 3.18, and a round is known from five sizes to a share or so.
        assert share < (fit.latency_high_s - fit.latency_low_s) / 0.0005 < 10 * share


def test_times_that_do_not_grow_have_no_bandwidth() -> None:
    # The a that minimises the sum of (2 a / t - 1)^2 is sum(1 / t) / (2 sum(1 / t^2)).
    times_s = [0.005, 0.004, 0.003]
    fit = fit_communication({(2, s): [t] for s, t in zip(SIZES, times_s, strict=False)})
    latency_s = sum(1 / t for t in times_s) / (2 * sum(1 / t**2 for t in times_s))
    assert fit.latency_s == pytest.approx(latency_s)
    assert fit.bandwidth_bytes_per_s == math.inf
    assert fit.predict_s(2, 10**9) == pytest.approx(2 * latency_s)


def test_times_that_grow_with_the_bytes_alone_have_no_latency() -> None:
    # Steeper than proportional: the best latency would be below 0.
    fit = fit_communication({(2, s): [(s / 1e6) ** 1.2] for s in SIZES})
    assert (fit.latency_s, fit.latency_low_s, fit.latency_high_s) == (0, 0, 0)
    assert fit.predict_s(2, 0) == 0


@pytest.mark.parametrize(
    ("timings_s", "said"),
    [
        ({(2, 100): [1.0], (2, 200): [1.0]}, "at least 3 sums, received 2"),
        ({(1, 100): [1.0], (2, 100): [1.0], (2, 200): [1.0]}, "received 1 workers"),
        ({(2, 0): [1.0], (2, 100): [1.0], (2, 200): [1.0]}, "and 0 bytes"),
        ({(2, 50): [0.0], (2, 100): [1.0], (2, 200): [1.0]}, "seconds above 0"),
    ],
)
def test_timings_that_cannot_be_fitted_are_refused(timings_s: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fit_communication(timings_s)


def test_a_network_adds_the_bytes_at_its_rate() -> None:
    fit = CommunicationFit(0.001, 0.001, 0.001, 1e9, 1e9, 1e9, (2,))
    steps = predict_steps({1: 0.3, 2: 0.16, 4: 0.09}, fit, 8_000_000)
    found = {(step.workers, step.rate_gbit_per_s): step for step in steps}
    assert list(found) == [(w, r) for w in (2, 4) for r in (1, 10, 100)]
    # 2 workers send 8 MB: 160 ms + (2 ms + 8 ms) + 64 ms, 6.4 ms, 0.64 ms
    assert found[2, 1].step_s == pytest.approx(0.234)
    assert found[2, 10].step_s == pytest.approx(0.1764)
    assert found[2, 100].step_s == pytest.approx(0.17064)
    assert found[2, 1].speed_up == pytest.approx(0.3 / 0.234)
    # 4 workers send 12 MB: 90 ms + (6 ms + 12 ms) + 96 ms
    assert found[4, 1].step_s == pytest.approx(0.204)
