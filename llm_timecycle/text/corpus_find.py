"""From what the settings say to files: paths, directories, globs, and built-in names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from llm_timecycle.config.settings import BUILT_IN_CORPORA
from llm_timecycle.config.spelling import find_nearest
from llm_timecycle.errors import DataError
from llm_timecycle.text.python_docs import extract_python_docs
from llm_timecycle.text.text_file import TextFile

SAMPLES = {"sample-english": "english.txt", "sample-chinese": "chinese.txt"}


def find_text_files(
    spec: str, base: Path, cache: Path, show_progress: bool = False
) -> list[TextFile]:
    """The files that one file name, directory, glob or built-in name means, in order.

    A built-in name comes first; a file of the same name is written `./python-docs`. Empty files
    inside a directory or a glob are passed over. Raises DataError if there is no text at all.
    """
    if spec == "python-docs":
        return [TextFile(extract_python_docs(cache, show_progress))]
    if spec in SAMPLES:
        return [TextFile(_find_sample_directory() / SAMPLES[spec])]
    place = Path(spec).expanduser() if spec.startswith("~/") else Path(spec)
    try:
        return _find_on_disk(spec, place, base)
    except OSError as error:
        raise DataError(f"{spec[:200]} cannot be read: {error.strerror or error}") from error


def _find_on_disk(spec: str, place: Path, base: Path) -> list[TextFile]:
    path = base / place
    if path.exists() and not path.is_dir():
        file = TextFile(path)
        if file.is_empty:
            raise DataError(f"{path} is empty; expected text")
        return [file]
    if path.is_dir():
        paths = _list_directory(path)
        nothing = f"the directory {path} holds no text; expected names that end in .txt or .gz"
    elif glob.has_magic(spec):
        paths = _match_glob(str(place), base)
        nothing = (
            f"{path} matches no file; expected a pattern such as texts/*.txt or texts/**/*.txt"
        )
    else:
        raise DataError(_explain_missing(spec, path))
    if not paths:
        raise DataError(nothing)
    texts = [file for file in map(TextFile, paths) if not file.is_empty]
    if not texts:
        raise DataError(f"{path} has only empty files; expected text in at least one of them")
    return texts


def _list_directory(directory: Path) -> list[Path]:
    """Every text file below a directory, sorted; hidden ones and archives are left out."""
    return sorted(
        path
        for path in _walk(directory)
        if path.name.lower().endswith((".txt", ".gz")) and not path.name.endswith(".tar.gz")
    )


def _walk(directory: Path) -> Iterator[Path]:
    """The files below a directory that are not hidden."""

    def refuse(error: OSError) -> None:
        raise error

    for parent, directories, names in os.walk(directory, onerror=refuse):
        directories[:] = [name for name in directories if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _match_glob(pattern: str, base: Path) -> list[Path]:
    # Not Path.glob: it refuses absolute patterns and takes hidden files.
    names = glob.iglob(pattern, root_dir=base, recursive=True)  # noqa: PTH207
    return sorted(path for path in (base / name for name in names) if path.is_file())


def _find_sample_directory() -> Path:
    """Where the texts that come with the program are: in the package, or beside a checkout's."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "data"
    return installed if installed.is_dir() else package.parent / "data"


def _explain_missing(spec: str, path: Path) -> str:
    if "/" in spec or path.suffix:
        siblings = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        if not path.parent.is_dir():
            return f"there is no file {path}: there is no directory {path.parent}"
        nearest = find_nearest(path.name, siblings)
        return f"there is no file {path}." + (f" Did you mean {nearest}?" if nearest else "")
    nearest = find_nearest(spec, BUILT_IN_CORPORA)
    return (
        f"there is no file {path}, and no built-in corpus named {spec}."
        + (f" Did you mean {nearest}?" if nearest else "")
        + f" The built-in corpora: {', '.join(BUILT_IN_CORPORA)}"
    )
