"""From what a setting names to files: a file, a directory, a glob, or a built-in corpus."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from llm_timecycle.config.spelling import find_nearest
from llm_timecycle.config.text_settings import BUILT_IN_CORPORA
from llm_timecycle.errors import DataError
from llm_timecycle.path_names import find_name_problem
from llm_timecycle.text.files.compression import find_kind
from llm_timecycle.text.python_docs import extract_python_docs

SAMPLES = {"sample-english": "english.txt", "sample-chinese": "chinese.txt"}
RECORD_KINDS = (".csv", ".tsv", ".jsonl")
TEXT_KINDS = ("", ".txt", ".md", ".rst", ".tex", ".srt", *RECORD_KINDS)
"""What is read of a directory, plain or compressed; "" is a name such as `text.gz`."""
KINDS_NAMED = 4
ANY_DEPTH = "**"

log = logging.getLogger("llm_timecycle")


@dataclass
class Found:
    """The files behind a setting.

    Attributes:
        paths: in order.
        is_built_in: whether they are a built-in corpus, which is UTF-8 whatever the settings say.
        many: whether a directory or a glob chose them, so that empty files may be skipped.
        sha256: of the text of the only file, in hex, where that is known before it is read.
        passed_over: how many files were left out, by kind.
    """

    paths: list[Path]
    is_built_in: bool = False
    many: bool = False
    sha256: str | None = None
    passed_over: Counter[str] = field(default_factory=Counter)


def find_files(
    spec: str, base: Path, cache: Path, show_progress: bool = False, records: bool = False
) -> Found:
    """The files that one value of a setting names; none of them is opened.

    A built-in name wins; write `./python-docs` for a file of that name. A directory gives the
    texts below it, links followed, hidden files left out; a glob gives what it matches, and only
    texts if it does not say how their names end. Both are in natural order: 2 before 10.

    Args:
        spec: the value.
        base: the directory that relative paths start from.
        cache: the directory for the extracted text of python-docs.
        show_progress: whether the extraction shows a progress bar on stderr.
        records: whether only files with records (CSV, TSV, JSONL) are wanted.

    Raises DataError if there is no such file, or no text.
    """
    if spec == "python-docs":
        kept = extract_python_docs(cache, show_progress)
        sha256 = hashlib.sha256(kept.content).hexdigest()
        return Found([kept.path], is_built_in=True, sha256=sha256)
    if spec in SAMPLES:
        return Found([_find_sample_directory() / SAMPLES[spec]], is_built_in=True)
    is_at_home = spec.startswith("~/")
    path = Path(os.path.expanduser(spec) if is_at_home else spec)  # noqa: PTH111  (never raises)
    if problem := find_name_problem(base / path):
        raise DataError(problem)
    try:
        return _find_on_disk(spec, path, base, RECORD_KINDS if records else TEXT_KINDS)
    except OSError as error:
        raise DataError(f"{spec} cannot be read: {error.strerror or error}") from error


def describe_kinds(kinds: Counter[str]) -> str:
    """How many files there are of each kind, the most frequent ones by name.

    >>> describe_kinds(Counter({".png": 12, "": 1}))
    '12 .png, 1 without a suffix'
    """
    ranked = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{n:,} {kind or 'without a suffix'}" for kind, n in ranked[:KINDS_NAMED]]
    others = sum(n for _, n in ranked[KINDS_NAMED:])
    return ", ".join([*named, f"{others:,} others"] if others else named)


def sort_naturally(paths: Iterable[Path]) -> list[Path]:
    """Paths in the order of their parts, capitals as small letters and numbers by their value.

    >>> [str(path) for path in sort_naturally(map(Path, ["b", "A10", "a9/x", "a9"]))]
    ['a9', 'a9/x', 'A10', 'b']
    """
    return sorted(paths, key=lambda path: ([_split_numbers(part) for part in path.parts], path))


def _split_numbers(name: str) -> list[str | int]:
    pieces = re.split(r"(\d+)", name.casefold())
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)]


def _find_on_disk(spec: str, named: Path, base: Path, kinds: tuple[str, ...]) -> Found:
    path = base / named
    if path.exists() and not path.is_dir():
        return Found([path])
    if path.is_dir():
        names_kind = False
        paths = list(_walk(path))
        nothing = f"the directory {path} has no text; expected files that end in "
    elif glob.has_magic(spec):
        names_kind = not glob.has_magic(Path(spec).suffix) and Path(spec).suffix != ""
        paths = _match_glob(str(named), base)
        nothing = f"{path} matches no text; expected files that end in "
        if not paths:
            raise DataError(
                f"{path} matches no file; expected a pattern such as texts/*.txt or texts/**/*.txt"
            )
    else:
        raise DataError(_explain_missing(spec, path))
    wanted = [each for each in paths if names_kind or _is_text(each, kinds)]
    chosen = set(wanted)
    passed_over = Counter(_name_kind(each) for each in paths if each not in chosen)
    if not wanted:
        expected = f"{', '.join(kind for kind in kinds if kind)}, plain or as .gz or .zst"
        found = f". It has {describe_kinds(passed_over)}" if passed_over else ""
        raise DataError(f"{nothing}{expected}{found}")
    return Found(sort_naturally(wanted), many=True, passed_over=passed_over)


def _is_text(path: Path, kinds: tuple[str, ...]) -> bool:
    kind = find_kind(path)
    return kind in kinds and (kind != "" or path.suffix != "")


def _name_kind(path: Path) -> str:
    """The suffixes that tell what a file is, for the log."""
    inner = find_kind(path)
    return inner if inner == path.suffix.lower() else f"{inner}{path.suffix.lower()}"


def _walk(directory: Path, *, with_hidden: bool = False) -> Iterator[Path]:
    """The files below a directory; a directory that links lead to twice, once.

    A link that leads back up is said. Hidden files and directories are left out.
    """

    def refuse(error: OSError) -> None:
        raise error

    seen = {_identify(directory)}
    for parent, directories, names in os.walk(directory, onerror=refuse, followlinks=True):
        kept = []
        for name in sorted(directories):
            path = Path(parent, name)
            if name.startswith(".") and not with_hidden:
                continue
            if (identity := _identify(path)) not in seen:
                seen.add(identity)
                kept.append(name)
            elif path.resolve() in Path(parent).resolve().parents or path.samefile(parent):
                log.info("%s leads back to %s: not followed", path, path.resolve())
        directories[:] = kept
        yield from (Path(parent, n) for n in names if with_hidden or not n.startswith("."))


def _identify(directory: Path) -> tuple[int, int]:
    status = directory.stat()
    return status.st_dev, status.st_ino


def _match_glob(pattern: str, base: Path) -> list[Path]:
    """The files that a glob matches.

    Below a `**`, links are followed as they are below a directory. The library would follow those
    that lead back up again and again.
    """
    parts = Path(pattern).parts
    place = parts.index(ANY_DEPTH) if ANY_DEPTH in parts else len(parts)
    # Not Path.glob: it refuses absolute patterns and takes hidden files.
    names = glob.iglob(str(Path(*parts[:place])), root_dir=base)  # noqa: PTH207
    found = [base / name for name in names]
    if not (below := parts[place:]):
        return [path for path in found if path.is_file()]
    with_hidden = any(part.startswith(".") for part in below)
    return [
        path
        for directory in found
        if directory.is_dir()
        for path in _walk(directory, with_hidden=with_hidden)
        if path.is_file() and _fits(path.relative_to(directory).parts, below)
    ]


def _fits(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether the parts of a path match those of a glob; what is hidden must be named so.

    >>> _fits(("a", "b", "c.txt"), ("**", "*.txt")), _fits((".a", "c.txt"), ("**", "*.txt"))
    (True, False)
    """
    if not parts or not patterns:
        return not parts and set(patterns) <= {ANY_DEPTH}
    (first, *rest), pattern = parts, patterns[0]
    is_hidden = first.startswith(".") and not pattern.startswith(".")
    if pattern == ANY_DEPTH:
        return _fits(parts, patterns[1:]) or (not is_hidden and _fits(rest, patterns))
    return not is_hidden and fnmatch(first, pattern) and _fits(rest, patterns[1:])


def _find_sample_directory() -> Path:
    """Where the bundled texts are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
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
