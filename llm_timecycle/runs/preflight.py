"""Before a run is trained: what would stop it after hours, and what killed processes have left."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote

from llm_timecycle.errors import RunError
from llm_timecycle.files import explain_os_error, open_for_appending, remove

FOR_TENSORBOARD = ("tensorboard", "tensorboard/plugins", "tensorboard/plugins/profile")
"""What a run may have, and TensorFlow would write through."""
_CHECKPOINT = re.compile(r"step-\d+")
_LEFTOVER = re.compile(r"\..+\.(?:new|\d+\.tmp)")
_UNFINISHED = re.compile(r"\.step-\d+\.tmp")


def check_writable(run: Path, growing: Sequence[str]) -> None:
    """Raise RunError unless a run can be written to, as far as can be known; changes nothing.

    Args:
        run: its directory.
        growing: the names of files that are written to where they are.
    """
    optional = (run / name for name in FOR_TENSORBOARD if os.path.lexists(run / name))
    for directory in (run, run / "checkpoints", *_list_checkpoints(run), *optional):
        if directory.is_symlink() or not directory.is_dir():
            raise RunError(_explain_no_directory(run, directory))
        try:
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            raise RunError(
                f"{run} cannot be trained: nothing can be written to {directory}: "
                f"{explain_os_error(error)}"
            ) from error
    for file in (run / name for name in growing):
        if file.exists() or file.is_symlink():
            try:
                open_for_appending(file).close()
            except OSError as error:
                raise RunError(
                    f"{run} cannot be trained: {file} cannot be written to: "
                    f"{explain_os_error(error)}"
                ) from error


def remove_leftovers(run: Path) -> None:
    """Delete the temporary files of processes that were killed; nobody else may write the run."""
    for directory, pattern in ((run, _LEFTOVER), (run / "checkpoints", _UNFINISHED)):
        for path in directory.iterdir():
            if pattern.fullmatch(path.name):
                with suppress(OSError):
                    remove(path)


def _list_checkpoints(run: Path) -> Iterator[Path]:
    if (run / "checkpoints").is_dir():
        found = (run / "checkpoints").iterdir()
        yield from (path for path in found if _CHECKPOINT.fullmatch(path.name))


def _explain_no_directory(run: Path, path: Path) -> str:
    if not path.exists() and not path.is_symlink():
        return f"{run} is incomplete: its directory {path.name} is missing"
    kind = "a link" if path.is_symlink() else "a file"
    return (
        f"{run} cannot be trained: {path} is {kind}, and a directory is needed there. Move it "
        f"away: mv {quote(str(path))} {quote(f'{path}-moved')}"
    )
