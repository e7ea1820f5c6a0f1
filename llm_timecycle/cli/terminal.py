"""What the commands write to stderr: log lines that do not tear a progress bar."""

from __future__ import annotations

import logging
import os
import sys

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
