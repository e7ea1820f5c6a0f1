"""A file that only grows: nothing that was given to it is lost in silence."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from llm_timecycle.errors import RunError
from llm_timecycle.training.reporting.growing_file import GrowingFile


def test_what_the_disk_takes_only_in_part_is_an_error(tmp_path: Path) -> None:
    """The system writes what still fits and reports no error; only the next write fails."""
    file = GrowingFile(tmp_path / "metrics.csv", 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        file.append("12 bytes...\n")
        with pytest.raises(RunError, match=r"metrics\.csv: the disk is full"):
            file.append("12 bytes...\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    file.close()
    assert (tmp_path / "metrics.csv").stat().st_size == 20
