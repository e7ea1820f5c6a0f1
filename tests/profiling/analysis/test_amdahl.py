"""Amdahl's law: exact speed-ups, and how often the interval holds the truth."""

from __future__ import annotations

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.amdahl import AmdahlFit, fit_amdahl


def fit_noisy(
    random: np.random.Generator, serial: float, workers: tuple[int, ...], noise: float
) -> AmdahlFit:
    return fit_amdahl(
        {
            n: ((serial + (1 - serial) / n) * np.exp(noise * random.standard_normal(7))).tolist()
            for n in workers
        }
    )


@pytest.mark.parametrize("serial", [0.0, 0.1, 0.5, 1.0])
def test_exact_times_give_the_fraction_back(serial: float) -> None:
    fit = fit_amdahl({n: [7 * (serial + (1 - serial) / n)] * 5 for n in (4, 1, 2)})
    assert fit.serial_fraction == pytest.approx(serial, abs=1e-9)
    assert fit.predict_speed_up(4) == pytest.approx(1 / (serial + (1 - serial) / 4))


def test_the_fraction_by_hand() -> None:
    fit = fit_amdahl({1: [6.0] * 5, 2: [4.0] * 5, 4: [3.0] * 5})
    assert fit.serial_fraction == pytest.approx(1 / 3, abs=5e-4)


@pytest.mark.parametrize("workers", [(1, 2), (1, 2, 4, 8)])
def test_the_interval_holds_the_truth_95_times_in_100(workers: tuple[int, ...]) -> None:
    random = np.random.default_rng(3)
    found = []
    for _ in range(500):
        fit = fit_noisy(random, 0.2, workers, 0.05)
        found.append(fit.serial_low <= 0.2 <= fit.serial_high)
        assert fit.serial_low <= fit.serial_fraction <= fit.serial_high
    assert 0.925 <= np.mean(found) <= 0.975  # 95 %, and what 500 trials leave to chance


def test_more_workers_that_are_slower_share_nothing() -> None:
    fit = fit_amdahl({1: [1.0] * 5, 2: [1.3] * 5})
    assert fit.serial_fraction == fit.serial_high == 1.0


def test_a_law_that_does_not_fit_widens_the_interval() -> None:
    # Two workers share everything, and no more than two ever help.
    random = np.random.default_rng(0)
    times = {n: 1 / min(n, 2) * np.exp(0.01 * random.standard_normal(9)) for n in (1, 2, 3, 4, 8)}
    fit = fit_amdahl({n: ts.tolist() for n, ts in times.items()})
    assert fit.serial_high - fit.serial_low > 0.2


def test_one_worker_must_be_among_them() -> None:
    with pytest.raises(UsageError, match=r"those of 1 worker, received \[2, 4\]"):
        fit_amdahl({2: [1.0] * 5, 4: [1.0] * 5})
    with pytest.raises(UsageError, match="at least 2 sizes"):
        fit_amdahl({1: [1.0] * 5})
