"""Numbers with their units, in three digits: 12.3 ms, 4.56 GFLOP/s, 8.2 %."""

from __future__ import annotations

import math
from collections.abc import Sequence

_DURATIONS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_COUNTS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def format_duration(duration_s: float) -> str:
    """Seconds with three digits and the unit that suits them.

    >>> format_duration(0.01234), format_duration(0.000002), format_duration(75), format_duration(0)
    ('12.3 ms', '2.00 µs', '75.0 s', '0 s')
    """
    if duration_s == 0:
        return "0 s"
    return _scale(duration_s, _DURATIONS, "")


def format_count(count: float, unit: str = "") -> str:
    """A count with three digits and the prefix that suits it, before its unit.

    >>> format_count(1.5e9, "FLOP/s"), format_count(999.7), format_count(12), format_count(0.25)
    ('1.50 GFLOP/s', '1.00 k', '12.0', '0.250')
    """
    return _scale(count, _COUNTS, unit)


def _scale(number: float, units: Sequence[tuple[float, str]], unit: str) -> str:
    """In the largest of the units, in descending order, that leaves a digit before the point."""
    fitting = (pair for pair in units if abs(number) >= 0.9995 * pair[0])
    factor, prefix = next(fitting, units[-1])
    return f"{format_digits(number / factor)} {prefix}{unit}".rstrip()


def format_digits(number: float) -> str:
    """A number with three digits that count, or all of those before the point.

    >>> format_digits(1.2345), format_digits(123.4), format_digits(1234.5), format_digits(0.5)
    ('1.23', '123', '1,234', '0.500')
    """
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    magnitude = math.floor(math.log10(abs(float(f"{number:.2e}"))))
    return f"{number:,.{max(0, 2 - magnitude)}f}"


def format_share(share: float) -> str:
    """A part of a whole in per cent.

    >>> format_share(0.0825), format_share(1.5), format_share(-0.0001)
    ('8.2 %', '150.0 %', '0.0 %')
    """
    return f"{100 * share + 0.0:.1f} %".replace("-0.0 %", "0.0 %")
