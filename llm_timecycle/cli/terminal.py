"""Output for people: log lines that do not break a progress bar, and bars of shares."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from tqdm import tqdm

from llm_timecycle.cli.printing import escape_controls


class _BarFriendlyHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Print a record above any progress bar."""
        tqdm.write(escape_controls(self.format(record)), file=sys.stderr)


def set_up_logging() -> None:
    """Send the log of the program to stderr, one plain line per record."""
    handler = _BarFriendlyHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("llm_timecycle")
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if os.environ.get("LLM_TIMECYCLE_DEBUG") == "1" else logging.INFO)


BAR_CELLS = 40
BAR_MARKS = "█▓▒░·"


def format_shares(seconds: Mapping[str, float]) -> str:
    """Shares of the total time, largest first, as a bar with its legend below.

    Args:
        seconds: of at most five items, by name.

    >>> print(format_shares({"reading": 10.0, "computing": 30.0}))
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
