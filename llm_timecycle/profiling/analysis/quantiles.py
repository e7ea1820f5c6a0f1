"""The two tables in the back of a statistics book: Student's t and Fisher's F, by computation.

    P(F <= f) = I_x(d1 / 2, d2 / 2),  x = d1 f / (d1 f + d2)
    t^2 with d degrees of freedom is F with (1, d)

I is the regularized incomplete beta function, by its continued fraction. Degrees of freedom need
not be whole numbers.

Source: Abramowitz and Stegun 1964, "Handbook of Mathematical Functions", 26.5.8, 26.6.2, 26.7.1.
"""

from __future__ import annotations

import functools
import math

from llm_timecycle.errors import UsageError

_SMALLEST = 1e-300  # stands for a zero that is divided by
_LARGEST_FREEDOM = 1e6  # beyond it t is normal to six digits, and the fraction converges slowly


@functools.lru_cache(maxsize=4096)
def compute_t_quantile(probability: float, freedom: float) -> float:
    """The t that a Student's t with `freedom` degrees of freedom exceeds with 1 - `probability`.

    Args:
        probability: from 0.5 up to, and without, 1. freedom: above 0.

    Raises:
        UsageError: an argument is outside its range.

    >>> round(compute_t_quantile(0.975, 10), 3)
    2.228
    """
    if not 0.5 <= probability < 1:
        raise UsageError(f"probability: expected 0.5 or more and below 1, received {probability}.")
    return math.sqrt(compute_f_quantile(2 * probability - 1, 1, freedom))


@functools.lru_cache(maxsize=4096)
def compute_f_quantile(probability: float, freedom_1: float, freedom_2: float) -> float:
    """The f that a Fisher's F with these degrees of freedom stays below with `probability`.

    Args:
        probability: from 0 up to, and without, 1.
        freedom_1, freedom_2: of the variance above and the one below the line, each above 0.

    Raises:
        UsageError: an argument is outside its range.

    >>> round(compute_f_quantile(0.95, 3, 20), 3)
    3.098
    """
    if not 0 <= probability < 1:
        raise UsageError(f"probability: expected 0 or more and below 1, received {probability}.")
    if not (freedom_1 > 0 and freedom_2 > 0):
        raise UsageError(
            f"degrees of freedom: expected numbers above 0, received {freedom_1} and {freedom_2}."
        )
    freedom_1, freedom_2 = min(freedom_1, _LARGEST_FREEDOM), min(freedom_2, _LARGEST_FREEDOM)
    low, high = 0.0, 1.0
    for _ in range(80):  # halved until nothing is left between the two
        middle = (low + high) / 2
        if compute_regularized_beta(middle, freedom_1 / 2, freedom_2 / 2) < probability:
            low = middle
        else:
            high = middle
    return freedom_2 * low / (freedom_1 * (1 - low)) if low < 1 else math.inf


def compute_regularized_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b): the share of a beta distribution with parameters a, b > 0 that lies below x.

    >>> compute_regularized_beta(0.25, 1, 1)  # the uniform distribution
    0.25
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _expand_fraction(x, a, b) / a
    return 1 - math.exp(log_front) * _expand_fraction(1 - x, b, a) / b


def _expand_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method.

    Source: Press et al. 2007, "Numerical Recipes", sections 5.2 and 6.4.
    """
    c, d = 1.0, 1.0 / _avoid_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _avoid_zero(1 + term * d)
            c = _avoid_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return value


def _avoid_zero(x: float) -> float:
    return x if abs(x) > _SMALLEST else _SMALLEST
