"""Where the texts of a run are, so that a run and its texts can be moved together.

`config.yaml` has a path relative to the run directory wherever the two have a directory in common.
A text that is not there any more is looked for in the current directory, under the same path
without its leading `../`: a run moved alone finds the text of a project from inside the project.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path

from llm_timecycle.config.text_settings import BUILT_IN_CORPORA, DataSettings
from llm_timecycle.errors import DataError

KEYS = ("train", "valid", "test")


def shorten_paths(data: DataSettings, run: Path) -> DataSettings:
    """The same texts, each path relative to the directory `run` if that serves.

    It does not where the two have no directory in common but the root, and where symbolic links
    would lead elsewhere.
    """
    return _map_paths(data, lambda key, path: shorten_path(path, run.absolute()))


def find_texts(data: DataSettings, run: Path, command: str) -> DataSettings:
    """The same texts; one that is not where its path says is looked for in the current directory.

    Whether they are the right texts is for their hashes to say.

    Args:
        data: the settings of a run, paths absolute.
        run: its directory.
        command: the command to repeat with the right path, for the message.

    Raises:
        DataError: a text is in neither place; names both.
    """

    def find(key: str, path: str) -> str:
        if _is_there(path):
            return path
        other = str(Path.cwd() / _strip_parents(_relate(path, str(run.absolute())) or path))
        if _is_there(other):
            return other
        remedy = f"{command} --set data.{key}=FILE"
        raise DataError(
            f"the text of {run} was not found: looked for {path}, as data.{key} in its "
            f"config.yaml says, and for {other}. Say where it is: {remedy}"
        )

    return _map_paths(data, find)


def _map_paths(data: DataSettings, change: Callable[[str, str], str]) -> DataSettings:
    """The settings with every absolute path changed; `change` takes its key and the path."""
    changed: dict[str, str | list[str]] = {}
    for key in KEYS:
        value = getattr(data, key)
        if isinstance(value, list):
            changed[key] = [change(key, path) if _is_absolute(path) else path for path in value]
        elif value is not None and _is_absolute(value):
            changed[key] = change(key, value)
    return data.model_copy(update=changed)


def _is_absolute(path: str) -> bool:
    return path not in BUILT_IN_CORPORA and Path(path).is_absolute()


def shorten_path(path: str, run: Path) -> str:
    """An absolute path relative to the absolute directory `run` if that serves."""
    real_run = str(run.parent.resolve() / run.name)
    for target, start in ((path, str(run)), (os.path.realpath(path), real_run)):
        short = _relate(target, start)
        if short is not None and _leads_to(real_run, short, path):
            return short
    return path


def _relate(path: str, start: str) -> str | None:
    """The path from `start`; None where the two have nothing but the root in common."""
    start = glob.escape(start) if _is_pattern(path) else start
    try:
        common = Path(os.path.commonpath([path, start]))
    except ValueError:  # on two drives
        return None
    return None if common == Path(common.anchor) else os.path.relpath(path, start)


def _leads_to(start: str, short: str, path: str) -> bool:
    start = glob.escape(start) if _is_pattern(path) else start
    return os.path.realpath(Path(start) / short) == os.path.realpath(path)


def _strip_parents(path: str) -> str:
    """The path without its root and the `..` that it begins with."""
    parts = [part for part in Path(path).parts if part not in ("..", Path(path).anchor)]
    return str(Path(*parts))


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path) and not Path(path).exists()


def _is_there(path: str) -> bool:
    return Path(path).exists() or (glob.has_magic(path) and bool(glob.glob(path, recursive=True)))  # noqa: PTH207
