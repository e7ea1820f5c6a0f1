"""A file of a run that only grows, and that a resumed run cuts back to where its checkpoint was."""

from __future__ import annotations

import os
from pathlib import Path

from llm_timecycle.errors import RunError
from llm_timecycle.files import open_for_appending
from llm_timecycle.runs.manifest import explain_unwritten


class GrowingFile:
    """Appends to a file, each piece flushed as it is written.

    Args:
        path: the file, directly in the run; created if it is missing.
        length_bytes: how much of an existing file to keep: what comes later belongs to steps that
            a resumed run is about to repeat.

    Raises:
        RunError: the file cannot be written to; so do `append` and `flush`.
    """

    def __init__(self, path: Path, length_bytes: int) -> None:
        self.path = path
        try:
            self._file = open_for_appending(path)
            self._file.truncate(min(length_bytes, path.stat().st_size))
        except OSError as error:
            raise self._explain(error) from error

    def append(self, text: str) -> None:
        """Write text at the end, as UTF-8: all of it, however little the system takes at once."""
        left = memoryview(text.encode("utf-8", "replace"))
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._explain(error) from error

    def flush(self) -> int:
        """Flush to disk; returns the size of the file in bytes."""
        try:
            os.fsync(self._file.fileno())
            return self.path.stat().st_size
        except OSError as error:
            raise self._explain(error) from error

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:  # where a server keeps it, what was written may fail only now
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> RunError:
        return explain_unwritten(self.path.parent, self.path, error)
