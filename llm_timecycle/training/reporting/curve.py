"""The course of the validation loss in one line of a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

LEVELS = "▁▂▃▄▅▆▇█"
MOST_CELLS = 24


def draw_curve(losses: Sequence[float], cells: int = MOST_CELLS) -> str:
    """A sparkline of the losses, oldest first; empty for fewer than two.

    The height is the square root of a loss's share of the range, so that the last improvements,
    which are small beside the first ones, can be seen. Of more losses than cells, each cell shows
    the mean of some that follow one another.

    >>> draw_curve([4.0, 2.0, 1.25, 1.0])
    '█▅▃▁'
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < 2:
        return ""
    count = min(cells, len(finite))
    bounds = [len(finite) * cell // count for cell in range(count + 1)]
    means = [sum(finite[start:end]) / (end - start) for start, end in pairwise(bounds)]
    low, high = min(means), max(means)
    heights = [math.sqrt((mean - low) / (high - low)) if high > low else 0.0 for mean in means]
    return "".join(LEVELS[round(height * (len(LEVELS) - 1))] for height in heights)
