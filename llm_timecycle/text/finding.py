"""From what the settings say to files: paths, directories, globs, and built-in names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from llm_timecycle.config.spelling import find_nearest
from llm_timecycle.config.tree import BUILT_IN_CORPORA
from llm_timecycle.errors import DataError
from llm_timecycle.text.python_docs import extract_python_docs
from llm_timecycle.text.reading import TextFile

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
    path = base / (Path(spec).expanduser() if spec.startswith("~/") else spec)
    if _exists(path):
        if not path.is_dir():
            return [_open_named_file(path)]
        found = [TextFile(file) for file in _list_directory(path)]
        if not found:
            raise DataError(
                f"the directory {path} holds no text; expected files ending in .txt or .gz"
            )
    elif glob.has_magic(spec):
        found = [TextFile(file) for file in _match_glob(path)]
        if not found:
            raise DataError(
                f"{path} matches no file; expected a pattern such as texts/*.txt "
                f"(or texts/**/*.txt, at any depth)"
            )
    else:
        raise DataError(_explain_missing(spec, path))
    texts = [file for file in found if not file.is_empty]
    if not texts:
        raise DataError(f"{path} has only empty files; expected text in at least one of them")
    return texts


def _open_named_file(path: Path) -> TextFile:
    file = TextFile(path)
    if file.is_empty:
        raise DataError(f"{path} is empty; expected text")
    return file


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise DataError(f"{str(path)[:200]} cannot be read: {error.strerror}") from error


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
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error

    for parent, directories, names in os.walk(directory, onerror=refuse):
        directories[:] = [name for name in directories if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _match_glob(pattern: Path) -> list[Path]:
    paths = map(Path, glob.iglob(str(pattern), recursive=True))
    return sorted(path for path in paths if path.is_file())


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
