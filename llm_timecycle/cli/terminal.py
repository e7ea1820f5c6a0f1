"""What the commands write to stderr: their own lines, above a progress bar, and no chatter."""

from __future__ import annotations

import logging
import os
import sys
import tempfile

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


def import_tensorflow() -> None:
    """Import TensorFlow and let it find its devices, without the lines it writes meanwhile.

    They come from its C++ parts, before any setting can reach them, so the stream itself is held
    back; it is let go again, with all that was written, where the import fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules or os.environ.get("LLM_TIMECYCLE_DEBUG") == "1":
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        is_loaded = False
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
            is_loaded = True
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if not is_loaded:
                held.seek(0)
                os.write(2, held.read())
