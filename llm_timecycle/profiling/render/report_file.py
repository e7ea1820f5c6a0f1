"""The file that a report is written into: checked first, written whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from llm_timecycle.errors import UsageError
from llm_timecycle.files import explain_os_error, write_durably


def check_report_path(report: str) -> Path:
    """The path of a report, where one can be written; an older one is replaced.

    Raises:
        UsageError: it is empty or a directory, or nothing can be written there.
    """
    path = Path(report)
    if not report or path.is_dir():
        found = "is a directory" if report else "is empty"
        raise UsageError(f"--report {report} {found}; expected a file such as profile.html")
    if not path.parent.is_dir():
        raise UsageError(
            f"--report: there is no directory {path.parent}. Make it, or choose another place"
        )
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"--report {path}: {explain_os_error(error)}") from error
    return path


def save_report(page: str, path: Path) -> None:
    """Write a page in the place of what was at `path`.

    Raises:
        UsageError: it cannot be written any more.
    """
    try:
        write_durably(path, page.encode())
    except OSError as error:
        raise UsageError(f"--report {path}: {explain_os_error(error)}") from error
