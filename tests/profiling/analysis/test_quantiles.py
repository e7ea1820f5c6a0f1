"""The quantiles of Student's t and Fisher's F, against the printed tables."""

from __future__ import annotations

import math

import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.quantiles import (
    compute_f_quantile,
    compute_regularized_beta,
    compute_t_quantile,
)


@pytest.mark.parametrize(
    ("probability", "freedom", "t"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 5, 2.571),
        (0.975, 30, 2.042),
        (0.95, 10, 1.812),
        (0.995, 3, 5.841),
        (0.975, 1e9, 1.960),
    ],
)
def test_t_is_what_the_tables_say(probability: float, freedom: float, t: float) -> None:
    assert compute_t_quantile(probability, freedom) == pytest.approx(t, abs=5e-4)


@pytest.mark.parametrize(
    ("probability", "freedoms", "f"),
    [(0.95, (1, 1), 161.448), (0.99, (3, 20), 4.938), (0.99, (4, 24), 4.218), (0.5, (7, 7), 1.0)],
)
def test_f_is_what_the_tables_say(
    probability: float, freedoms: tuple[float, float], f: float
) -> None:
    assert compute_f_quantile(probability, *freedoms) == pytest.approx(f, abs=5e-4)


def test_cauchy_and_half_freedoms() -> None:
    # One degree of freedom is the Cauchy distribution, whose quantile is tan(pi (p - 1/2)).
    assert compute_t_quantile(0.9, 1) == pytest.approx(math.tan(math.pi * 0.4))
    # Two have the closed form (2p - 1) / sqrt(2 p (1 - p)).
    assert compute_t_quantile(0.9, 2) == pytest.approx(0.8 / math.sqrt(0.18))
    assert compute_t_quantile(0.9, 2) < compute_t_quantile(0.9, 1.5) < compute_t_quantile(0.9, 1)


def test_the_beta_function_by_hand() -> None:
    assert compute_regularized_beta(0.3, 2, 1) == pytest.approx(0.09)  # x^2
    assert compute_regularized_beta(0.3, 1, 3) == pytest.approx(1 - 0.7**3)
    for x in (0.001, 0.2, 0.7, 0.999):  # I_x(a, b) = 1 - I_{1-x}(b, a)
        mirrored = 1 - compute_regularized_beta(1 - x, 8.5, 2.5)
        assert compute_regularized_beta(x, 2.5, 8.5) == pytest.approx(mirrored, abs=1e-12)
    assert (compute_regularized_beta(0, 2, 3), compute_regularized_beta(1, 2, 3)) == (0.0, 1.0)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"0.5 or more and below 1, received 0.4"):
        compute_t_quantile(0.4, 3)
    with pytest.raises(UsageError, match="0 or more and below 1, received 1"):
        compute_f_quantile(1, 3, 3)
    with pytest.raises(UsageError, match="numbers above 0, received 1 and 0"):
        compute_t_quantile(0.9, 0)
