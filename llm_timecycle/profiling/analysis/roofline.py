"""The roofline: what a stage reaches, of what this machine's two ceilings let it reach.

    intensity = operations / bytes
    bound = max(operations / peak, bytes / bandwidth)      the least time that the stage can take
    share = bound / measured time

The ceiling that gives the larger of the two times binds. A share above 1 says that the stage is not
held by the ceiling it was given: its bytes stay in a cache, or it runs at another product size.

Source: Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model for
multicore architectures".
"""

from __future__ import annotations

import math

from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.results import Roofline, RooflinePoint


def place_under_roof(
    name: str, operations: int, bytes_moved: int, measured_s: float, roofline: Roofline
) -> RooflinePoint:
    """A stage of so many operations and bytes that took `measured_s`, under the roof.

    Raises:
        UsageError: a time or a ceiling that is not above 0, or counts of which none is.

    >>> point = place_under_roof("forward", 800, 100, 2.0, Roofline(1000.0, 200.0))
    >>> point.operations_per_s, point.intensity, point.binding, point.bound_s, point.share
    (400.0, 8.0, 'compute', 0.8, 0.4)
    """
    ceilings = (roofline.peak_operations_per_s, roofline.bandwidth_bytes_per_s)
    if not all(0 < ceiling < math.inf for ceiling in ceilings):
        raise UsageError(f"roofline: expected ceilings above 0, received {ceilings}. Measure them.")
    if not 0 < measured_s < math.inf:
        raise UsageError(f"{name}: expected a measured time above 0, received {measured_s} s.")
    if min(operations, bytes_moved) < 0 or max(operations, bytes_moved) == 0:
        raise UsageError(
            f"{name}: expected operations or bytes, received {operations} and {bytes_moved}."
        )
    return RooflinePoint(name, operations, bytes_moved, measured_s, roofline)
