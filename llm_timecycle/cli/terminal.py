"""What the commands write to stderr: log lines that do not tear a progress bar."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from tqdm import tqdm


class _BarFriendlyHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Print a record above any progress bar."""
        tqdm.write(self.format(record), file=sys.stderr)


def set_up_logging() -> None:
    """Send the program's own log to stderr, a plain line each."""
    handler = _BarFriendlyHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("llm_timecycle")
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if os.environ.get("LLM_TIMECYCLE_DEBUG") == "1" else logging.INFO)


BAR_CELLS = 40
BAR_MARKS = "█▓▒░·"


def draw_shares(seconds: Mapping[str, float]) -> str:
    """What took how much of the time, the longest first: a bar, and under it what it shows.

    Args:
        seconds: of at most five things.

    >>> print(draw_shares({"reading": 10.0, "computing": 30.0}))
    ██████████████████████████████▓▓▓▓▓▓▓▓▓▓
    █ computing 75.0 %  ▓ reading 25.0 %
    """
    total = sum(seconds.values()) or 1.0
    ranked = sorted(seconds.items(), key=lambda item: -item[1])
    bar, names, ended = "", [], 0.0
    for mark, (name, spent) in zip(BAR_MARKS, ranked, strict=False):
        ended += spent
        bar += mark * (round(BAR_CELLS * ended / total) - len(bar))
        names.append(f"{mark} {name} {100 * spent / total:.1f} %")
    return f"{bar}\n{'  '.join(names)}"
