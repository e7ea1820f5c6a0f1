"""Sessions: what of an error in the middle of a training is the run's."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from llm_timecycle.config.settings import Settings
from llm_timecycle.runs.directory import Run
from llm_timecycle.training.session import _is_of_run

RUN = Run(Path("runs/a"), Settings(), 5)


@pytest.mark.parametrize(
    ("error", "is_of_run"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EIO, "Input/output error", "runs/a/checkpoints/step-5"), True),
        (OSError(errno.ENOSPC, "No space left on device", "elsewhere/log"), False),
        (OSError(errno.ECONNRESET, "Connection reset by peer"), False),
    ],
)
def test_the_errors_of_a_callback_stay_its_own(error: OSError, is_of_run: bool) -> None:
    assert _is_of_run(error, RUN) is is_of_run
