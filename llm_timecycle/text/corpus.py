"""Corpora: the files that a setting names, their text as a stream, and its split by position.

A corpus is a sequence of documents. Measuring and hashing it takes one pass over its files, made
when first needed and remembered; reading a part starts near the part, not at the start of its file.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

from llm_timecycle.config.spelling import find_nearest
from llm_timecycle.config.text_settings import BUILT_IN_CORPORA
from llm_timecycle.errors import DataError
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.text.chunks import Chunk
from llm_timecycle.text.python_docs import extract_python_docs
from llm_timecycle.text.text_file import TextFile
from llm_timecycle.text.tokenizer.normalization import find_border

LINE_CHARACTERS_AT_MOST = 1000  # a cut moves no further than this to the next line
SAMPLES = {"sample-english": "english.txt", "sample-chinese": "chinese.txt"}


@dataclass(frozen=True)
class Document:
    """A text file, or the characters of one from `start` to before `stop` (None: to its end)."""

    file: TextFile
    start: int = 0
    stop: int | None = None

    @property
    def name(self) -> str:
        """The path of the file, for messages."""
        return str(self.file.path)

    @property
    def reaches_end(self) -> bool:
        """Whether the document ends where its file ends, and not at a cut."""
        return self.stop is None

    def chunks(self) -> Iterator[Chunk]:
        """The text in pieces of about a megabyte; joined, they are the whole text.

        A piece ends after a line break; in a line longer than a megabyte, before a space; without
        even a space, between two characters, never before a combining mark. Raises DataError if
        the file is not UTF-8 or is damaged.
        """
        last = ""
        for text in _gather_lines(self.file.read(self.start, self.stop)):
            if last:
                yield Chunk(last)
            last = text
        if last:
            yield Chunk(last, (len(last),) if self.reaches_end else ())

    def count_characters(self) -> int:
        """How many characters the document has."""
        stop = self.file.measure().characters if self.stop is None else self.stop
        return stop - self.start

    def cut(self, start: int, stop: int) -> Document:
        """The part from character `start` to before character `stop` of this document."""
        is_end = self.reaches_end and stop == self.count_characters()
        return Document(self.file, self.start + start, None if is_end else self.start + stop)


@dataclass(frozen=True)
class Corpus:
    """A sequence of documents; none of their text is kept in memory.

    Attributes:
        name: its name in messages.
        texts: the documents, in order.
    """

    name: str
    texts: tuple[Document, ...]

    def documents(self) -> Iterator[Document]:
        """The documents in order; an empty part of a corpus has none."""
        return iter(self.texts)

    def measure(self, show_progress: bool = False) -> None:
        """Read every file once to learn its length and hash; nothing is read if they are known.

        Raises DataError if a file is not UTF-8 or is damaged.
        """
        files = {document.file.path: document.file for document in self.texts}
        is_known = not any(file.is_compressed for file in files.values())
        with tqdm(
            desc=f"reading {self.name}",
            total=sum(file.size_bytes for file in files.values()) if is_known else None,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=not show_progress,
        ) as bar:
            for file in files.values():
                file.measure(bar.update)

    def count_characters(self) -> int:
        """How many characters the documents have together."""
        return sum(document.count_characters() for document in self.texts)

    def sha256(self) -> str:
        """A hash (in hex) of the text of every document and of where the documents end.

        File names and locations do not matter. The hash of a part covers its files and its cuts,
        so it changes whenever the text of the part does.
        """
        digest = hashlib.sha256()
        for document in self.texts:
            stop = document.start + document.count_characters()
            line = f"{document.file.measure().sha256} {document.start} {stop}\n"
            digest.update(line.encode())
        return digest.hexdigest()

    def cut(self, start: int, stop: int, name: str) -> Corpus:
        """The part from character `start` to before character `stop`, called `name`."""
        parts = []
        position = 0
        for document in self.texts:
            length = document.count_characters()
            first, last = max(start - position, 0), min(stop - position, length)
            if first < last:
                parts.append(document.cut(first, last))
            position += length
        return Corpus(name, tuple(parts))


def open_corpus(
    spec: str | list[str], base: Path, cache: Path, show_progress: bool = False
) -> Corpus:
    """The corpus that a setting names; only the first bytes of its files are read.

    Args:
        spec: a file (`.gz`: compressed), a directory (every `.txt` and `.gz` below it, sorted),
            a glob (`**` for any depth, sorted), a built-in name (python-docs, sample-english,
            sample-chinese), or a list of these. A file named twice is read once.
        base: the directory that relative paths start from.
        cache: the directory for the extracted text of python-docs.
        show_progress: whether the extraction shows a progress bar on stderr.

    Raises DataError for a missing or empty file, a directory or glob without text, and anything
    that cannot be read.
    """
    specs = [spec] if isinstance(spec, str) else spec
    files: dict[Path, TextFile] = {}
    for item in specs:
        for file in find_text_files(item, base, cache, show_progress):
            files.setdefault(file.path.resolve(), file)
    name = specs[0] if len(specs) == 1 else f"{specs[0]} and {len(specs) - 1} more"
    return Corpus(name, tuple(Document(file) for file in files.values()))


def split_corpus(
    corpus: Corpus, valid_fraction: float, test_fraction: float, show_progress: bool = False
) -> tuple[Corpus, Corpus | None, Corpus | None]:
    """Cut a corpus by position into training, validation and test text, in this order.

    Validation starts at 1 - valid_fraction - test_fraction of the characters, the test text at
    1 - test_fraction; both move on to the next start of a line, unless it is more than 1,000
    characters away. Joined, the parts are the whole text. A fraction of 0 gives None; a part of a
    very short text can be empty. Raises DataError if a file is not UTF-8 or is damaged.
    """
    corpus.measure(show_progress)
    total = corpus.count_characters()
    test_start = _find_line_start(corpus, total - round(total * test_fraction))
    valid_start = _find_line_start(corpus, total - round(total * (valid_fraction + test_fraction)))
    return (
        corpus.cut(0, valid_start, f"the training part of {corpus.name}"),
        corpus.cut(valid_start, test_start, f"the validation part of {corpus.name}")
        if valid_fraction
        else None,
        corpus.cut(test_start, total, f"the test part of {corpus.name}") if test_fraction else None,
    )


def _find_line_start(corpus: Corpus, position: int) -> int:
    """The first start of a line (or of a document) at or after a character position."""
    if position <= 0:
        return 0
    window = corpus.cut(position - 1, position + LINE_CHARACTERS_AT_MOST, corpus.name)
    text = "".join(chunk.text for document in window.texts[:1] for chunk in document.chunks())
    found = text.find("\n")
    if found >= 0:
        return position + found
    ends_soon = len(window.texts) > 1 or (len(window.texts) == 1 and window.texts[0].reaches_end)
    return position - 1 + len(text) if ends_soon else position


def _gather_lines(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces of text, recut so that each ends where words end, if possible."""
    rest = ""
    for piece, following in pairwise(chain(pieces, [""])):
        rest += piece
        cut = _find_cut(rest, following)
        yield rest[:cut]
        rest = rest[cut:]
    if rest:
        yield rest


def _find_cut(text: str, following: str) -> int:
    """Where to cut `text`: after its last line break, else before its last space, else its end.

    A space after a punctuation mark is better than one after a word, which is no token of its own
    at word level. At the end of `text`, nothing is cut off from a mark that follows.
    """
    if after_break := text.rfind("\n") + 1:
        return after_break
    if after_mark := max(text.rfind(f"{mark} ") for mark in ".,;:!?") + 1:
        return after_mark
    space = text.rfind(" ")
    return space if space > 0 else find_border(text, following)


def find_text_files(
    spec: str, base: Path, cache: Path, show_progress: bool = False
) -> list[TextFile]:
    """The files behind a file name, a directory, a glob or a built-in name, in order.

    A built-in name wins; write `./python-docs` for a file of that name. Empty files inside a
    directory or a glob are skipped. Raises DataError if there is no text at all.
    """
    if spec == "python-docs":
        return [TextFile(extract_python_docs(cache, show_progress))]
    if spec in SAMPLES:
        return [TextFile(_find_sample_directory() / SAMPLES[spec])]
    path = Path(spec).expanduser() if spec.startswith("~/") else Path(spec)
    try:
        return _find_on_disk(spec, path, base)
    except OSError as error:
        raise DataError(f"{spec[:200]} cannot be read: {error.strerror or error}") from error


def _find_on_disk(spec: str, named: Path, base: Path) -> list[TextFile]:
    path = base / named
    if path.exists() and not path.is_dir():
        file = TextFile(path)
        if file.is_empty:
            raise DataError(f"{path} is empty; expected text")
        return [file]
    if path.is_dir():
        paths = _list_directory(path)
        nothing = f"the directory {path} has no text; expected files that end in .txt or .gz"
    elif glob.has_magic(spec):
        paths = _match_glob(str(named), base)
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
    """Every text file below a directory, sorted, without hidden files and archives."""
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
    """Where the bundled texts are: in the installed package, or beside it in a checkout."""
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
