"""What a name on the command line or in a call means: a run, a settings file, a shipped one."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from llm_timecycle.arguments import write_received
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.spelling import find_nearest
from llm_timecycle.config.text_settings import BUILT_IN_CORPORA
from llm_timecycle.errors import ConfigError, UsageError
from llm_timecycle.files import open_regular
from llm_timecycle.path_names import find_name_problem

SETTINGS_SUFFIXES = {".yaml", ".yml"}
TEXT_SUFFIXES = {".txt", ".gz"}
BEGINNING_BYTES = 1 << 16


def names_text(source: str | Path) -> bool:
    """Whether `source` names a text to train on, and neither settings nor a run.

    Settings come first: `.yaml` and `.yml` files, and shipped names. A file of another name holds
    settings if its first line, comments aside, is a section such as `data:` and nothing more. A
    directory with a `config.yaml` or a manifest is a run. Texts are all other files and
    directories, built-in corpora, globs, and missing files that would end in `.txt` or `.gz`.
    """
    path, name = Path(source), str(source)
    if name == "":
        return False
    check_path_name(source)
    if path.suffix.lower() in SETTINGS_SUFFIXES:
        return False
    if path.exists() and not path.is_dir():
        return not _begins_as_settings(path)
    if name in list_shipped_names():
        return False
    if path.is_dir():
        return not _holds_run(path)
    is_named_as_text = path.suffix.lower() in TEXT_SUFFIXES or glob.has_magic(name)
    return name in BUILT_IN_CORPORA or (is_named_as_text and not path.exists())


def is_text(source: object, resume: bool) -> bool:
    """Whether the source of `lt.train` is a text to train on, and not settings or a run.

    Raises:
        UsageError: it is neither.
    """
    if not isinstance(source, (str, Path)):
        if isinstance(source, Sequence) and source:
            return True
        raise UsageError(
            f"source: received {write_received(source)}; expected a text, settings, or a run"
        )
    check_path_name(source)
    path, name = Path(source), str(source)
    is_run = (path / "manifest.json").exists() or path.name == "config.yaml"
    if path.is_dir() and is_run and not resume:
        raise UsageError(
            f"{name} is a run: to resume it, pass resume=True; to train a new run with its "
            f"settings, pass {str(path / 'config.yaml')!r} and another directory as run"
        )
    if names_text(source):
        return True
    names_settings = name in list_shipped_names() or path.suffix.lower() in SETTINGS_SUFFIXES
    if names_settings or is_run or resume or path.exists():
        return False
    if name in list_shipped_runs():
        raise UsageError(
            f"{name} is a run that comes with the program; expected a text or settings. To begin a "
            f"new run with its weights, pass from_run={name!r} and a text"
        )
    nearest = find_nearest(name, [*list_shipped_names(), *BUILT_IN_CORPORA])
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    raise UsageError(f"no text, settings or run called {name!r} was found.{hint}")


def name_after(text: str | Path) -> str:
    """What a run or a settings file is called after a text; "" where its name says nothing.

    >>> name_after("books/novel.txt.gz"), name_after("books/*.txt")
    ('novel', '')
    """
    name = Path(text).name.split(".")[0]
    return "" if glob.has_magic(name) else name


def check_path_name(name: str | Path) -> None:
    """Raise UsageError for a name that no file can have, or that cannot be reached."""
    if problem := find_name_problem(name):
        raise UsageError(problem)


def _holds_run(path: Path) -> bool:
    """Whether a directory has what only a run has."""
    return any((path / name).exists() for name in ("config.yaml", "manifest.json"))


def _begins_as_settings(path: Path) -> bool:
    """Whether the first line of a file that is not blank or a comment names a section."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size  # what calls itself empty may never end
            content = file.read(min(size, BEGINNING_BYTES))
    except OSError:
        return False  # whoever reads the text says why it cannot be read
    beginning = content.decode("utf-8-sig", errors="replace")
    lines = (line for line in beginning.splitlines() if line.strip()[:1] not in ("", "#"))
    section = rf"""[{{"'\s]*(?:{"|".join(Settings.model_fields)})["']?\s*[:：]"""
    return re.match(rf"{section}\s*(?:$|#|\{{|null|~)", next(lines, "")) is not None


def find_run(source: str | Path) -> Path | None:
    """The run directory that `source` means; None where it means a settings file.

    A directory is a run, and so is a missing path that is neither a YAML file nor a bare name (it
    is then reported as a missing run). A run's own config.yaml means the run, and the name of a
    shipped run its directory.
    """
    path = find_run_directory(source)
    if path.name == "config.yaml" and (path.parent / "manifest.json").exists():
        return path.parent
    is_settings_name = path.suffix.lower() in SETTINGS_SUFFIXES or len(path.parts) == 1
    return path if path.is_dir() or not (path.is_file() or is_settings_name) else None


def find_run_directory(source: str | Path) -> Path:
    """The directory of the run that `source` names: a path, or the bare name of a shipped run.

    A run of the user's comes first; a directory that is no run does not hide a shipped one.
    """
    check_path_name(source)
    path = Path(source)
    shipped = list_shipped_runs().get(str(source))
    return path if shipped is None or _holds_run(path) or path.is_file() else shipped


def list_shipped_runs() -> dict[str, Path]:
    """The directories of the shipped runs, by name.

    They are inside the installed package, or beside the package in a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "data" / "runs"
    directory = installed if installed.is_dir() else package.parent / "data" / "runs"
    return {path.parent.name: path.parent for path in sorted(directory.glob("*/manifest.json"))}


def find_settings_file(source: str | Path) -> Path:
    """The settings file that `source` means: a path, or the bare name of a shipped file.

    A file of the user's comes first. Raises ConfigError with the nearest right name.
    """
    if str(source) == "":
        raise ConfigError("the name is empty; expected a settings file or a name such as small")
    check_path_name(source)
    path = Path(source)
    is_directory = path.is_dir()
    if is_directory and (path / "config.yaml").exists():
        raise ConfigError(
            f"{source} is a run directory; expected a settings file. The run's settings are in "
            f"{path / 'config.yaml'}. To resume the run: llm-timecycle train {quote(str(source))} "
            f"--resume"
        )
    if path.exists() and not is_directory:
        return path
    if str(source) in list_shipped_names():
        return find_shipped_directory() / f"{source}.yaml"
    if is_directory:
        raise ConfigError(f"{source} is a directory; expected a settings file (YAML)")
    raise ConfigError(_explain_missing(str(source), path))


def find_shipped_directory() -> Path:
    """The directory of the shipped settings files.

    It is inside the installed package, or beside the package in a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def list_shipped_names() -> list[str]:
    """The names of the shipped settings files."""
    return sorted(path.stem for path in find_shipped_directory().glob("*.yaml"))


def _explain_missing(source: str, path: Path) -> str:
    shipped = list_shipped_names()
    is_path = path.suffix.lower() in SETTINGS_SUFFIXES or len(path.parts) > 1
    if run := list_shipped_runs().get(source):
        return (
            f"{source} is a run that comes with the program; expected a settings file. Its "
            f"settings are in {run / 'config.yaml'}. To begin a new run with its weights: "
            f"llm-timecycle train --from {source} TEXT"
        )
    if not is_path:
        if os.path.isfile(f"{source}.yaml"):  # noqa: PTH113  (False where that is too long)
            return f"there are no settings named {source}. Did you mean {source}.yaml?"
        if os.path.isfile(f"{source}.txt"):  # noqa: PTH113
            return f"there are no settings named {source}. Did you mean the text {source}.txt?"
        nearest = find_nearest(source, shipped)
        hint = f" Did you mean {nearest}?" if nearest else ""
        return f"there are no settings named {source}.{hint} Shipped settings: {', '.join(shipped)}"
    if path.parent == Path() and path.stem in shipped:
        return f"there is no file {source}. For the shipped settings, use the name: {path.stem}"
    if not path.parent.is_dir():
        return f"there is no file {source}: there is no directory {path.parent}"
    if nearest := find_nearest(path.name, [file.name for file in path.parent.glob("*.y*ml")]):
        return f"there is no file {source}. Did you mean {path.parent / nearest}?"
    return f"there is no file {source}. Create one with: llm-timecycle config new {quote(source)}"
