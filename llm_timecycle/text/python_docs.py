"""The built-in corpus `python-docs`: the English prose inside this Python's standard library.

Docstrings and the topics of `help()` are parsed out of the sources; no module is imported. What is
not prose (examples, signatures, tables, lists of names) is left out, and a repeated paragraph is
kept once. Each paragraph is one line of the corpus.

A corpus is split by position, and the library is uneven: a chapter on `email` does not read like
one on `ctypes`. So the text is laid out in short sections of one module each, ordered by a hash:
every part of the corpus then samples the whole library, the same on every machine.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterator
from itertools import pairwise, takewhile
from pathlib import Path

from llm_timecycle.errors import DataError
from llm_timecycle.files import explain_os_error, read_regular
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.text.cached_files import CachedFile, keep_newest, read_cached, write_cached

FORMAT = 1  # increased whenever the same sources give another text
TEXTS_KEPT = 10
TEXT_BYTES_AT_MOST = 64 << 20
SOURCE_BYTES_AT_MOST = 16 << 20
PARAGRAPHS_PER_SECTION = 25
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SKIPPED_DIRECTORIES = {"site-packages", "dist-packages", "test", "tests", "idle_test"}

WORD = re.compile(r"[\"'(\[]*[A-Za-z]+(?:['/-][A-Za-z]+)*[\"')\]]*[.,;:!?]?[\"')\]]*")
ITEM = re.compile(r"\s*(?:[-*+•o]|\(?\d{1,2}[.)]|\(?[a-z]\)|\[\d+\])\s+")
EXAMPLE = re.compile(r"\s*(?:>>>|\.\.)")
SIGNATURE = re.compile(r"\s*(?:class |def |async )?[\w.]+\(.*")
TABLE = re.compile(r"\S\s{3,}\S|\t|[|=+~_-]{4}|::=")
ROLE = re.compile(r":[a-z]+(?::[a-z]+)?:`")
EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}(\w(?:[^*\s]|\s(?=\w))*)\*{1,2}(?![\w*])")
SENTENCE = re.compile(r"[\"'(]?[A-Za-z].*[\w.!?:][\"')]?")
PLAIN_QUOTES = str.maketrans("‘’“”", "''\"\"")
COMMON_WORD = re.compile(
    r"an?|and|are|as|at|be|by|can|for|from|has|if|in|is|its?|not|of|on|or|that|the|this|to|used|"
    r"was|when|which|will|with|you",
    re.IGNORECASE,
)
WORDS_AT_LEAST = 6
WORD_SHARE = 0.75
COMMON_WORD_SHARE = 0.12


def extract_python_docs(cache: Path, show_progress: bool = False) -> CachedFile:
    """The file that holds the corpus, extracted on first use (a few seconds) and kept in `cache`.

    Args:
        cache: a directory; it is created if it does not exist.
        show_progress: whether the extraction shows a progress bar on stderr.

    The name of the file depends on the version of Python and the location of its library, so
    another Python writes another file. Raises DataError if this Python came without its sources,
    or if `cache` cannot be written.
    """
    library = Path(sysconfig.get_path("stdlib"))
    origin = hashlib.sha256(f"{FORMAT} {library}".encode()).hexdigest()[:8]
    key = f"python-docs-{platform.python_version()}-{origin}"
    directory = cache / "texts"
    if (found := read_cached(directory, key, ".txt", TEXT_BYTES_AT_MOST)) is not None:
        return found
    text = "".join(f"{paragraph}\n" for paragraph in list_prose(library, show_progress))
    if not text:
        raise DataError(
            f"this Python has no sources of its standard library in {library}; "
            f"expected them for the corpus python-docs. Set data.train to another text"
        )
    try:
        written = write_cached(directory, key, ".txt", text.encode())
        keep_newest(directory, TEXTS_KEPT)
    except OSError as error:
        raise DataError(f"{directory} cannot be written: {explain_os_error(error)}") from error
    return written


def list_prose(library: Path, show_progress: bool = False) -> list[str]:
    """Every distinct paragraph of prose in the Python sources below a directory, laid out."""
    sections: dict[str, list[str]] = {}
    seen: set[str] = set()
    for name, docstring in _list_docstrings(library, show_progress):
        for paragraph in list_paragraphs(docstring):
            if paragraph not in seen:
                seen.add(paragraph)
                sections.setdefault(name, []).append(paragraph)
    return _lay_out(sections)


def list_paragraphs(docstring: str) -> Iterator[str]:
    """The paragraphs (and items of lists) of a docstring that are prose, each as one line.

    >>> list(list_paragraphs("f(x) -> y\\n\\nGive the value\\nof x to whoever asks for it."))
    ['Give the value of x to whoever asks for it.']
    """
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        lines = list(takewhile(lambda line: not EXAMPLE.match(line), block.splitlines()))
        if any(TABLE.search(line) for line in lines):
            continue
        starts = [0, *(i for i, line in enumerate(lines) if i and ITEM.match(line)), len(lines)]
        for start, stop in pairwise(starts):
            paragraph = _join_lines(lines[start:stop])
            if is_prose(paragraph):
                yield paragraph


def is_prose(paragraph: str) -> bool:
    """Whether a line is made of English sentences, and is not code, a table or a list of names."""
    words = paragraph.split()
    if len(words) < WORDS_AT_LEAST or not SENTENCE.fullmatch(paragraph):
        return False
    if SIGNATURE.match(words[0]):
        return False
    plain = sum(WORD.fullmatch(word) is not None for word in words)
    common = sum(COMMON_WORD.fullmatch(word) is not None for word in words)
    return plain >= WORD_SHARE * len(words) and common >= COMMON_WORD_SHARE * len(words)


def _join_lines(lines: list[str]) -> str:
    """One line without reStructuredText markup, its white space normalized."""
    text = " ".join(lines)
    if bullet := ITEM.match(text):
        text = text[bullet.end() :]
    text = ROLE.sub("`", text).replace("`", "")
    text = " ".join(EMPHASIS.sub(r"\1", text).translate(PLAIN_QUOTES).split())
    return re.sub(r"::$", ":", text)


def _lay_out(sections: dict[str, list[str]]) -> list[str]:
    """The paragraphs of all modules, in sections ordered by the hash of their names."""
    pieces = [
        (
            hashlib.sha256(f"{name}:{start}".encode()).digest(),
            paragraphs[start:][:PARAGRAPHS_PER_SECTION],
        )
        for name, paragraphs in sections.items()
        for start in range(0, len(paragraphs), PARAGRAPHS_PER_SECTION)
    ]
    return [paragraph for _, piece in sorted(pieces) for paragraph in piece]


def _list_docstrings(library: Path, show_progress: bool) -> Iterator[tuple[str, str]]:
    """The name of the module or topic, and the text, of every docstring; sorted by file."""
    files = sorted(_walk(library))
    for path in tqdm(files, "reading python-docs", leave=False, disable=not show_progress):
        name = path.relative_to(library).with_suffix("").as_posix()
        if (tree := _parse(path)) is None:
            continue
        if name == "pydoc_data/topics":
            for topic, text in _read_topics(tree).items():
                yield f"topics/{topic}", text
            continue
        for node in ast.walk(tree):
            if isinstance(node, DOCUMENTED) and (docstring := ast.get_docstring(node)):
                yield name, docstring


def _walk(library: Path) -> Iterator[Path]:
    for parent, directories, names in os.walk(library):
        directories[:] = [name for name in directories if name not in SKIPPED_DIRECTORIES]
        yield from (Path(parent, name) for name in names if name.endswith(".py"))


def _parse(path: Path) -> ast.Module | None:
    """The syntax tree of a source file; None for one that this Python cannot read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes in these sources
        try:
            return ast.parse(read_regular(path, SOURCE_BYTES_AT_MOST))
        except (OSError, SyntaxError, ValueError, RecursionError):
            return None


def _read_topics(tree: ast.Module) -> dict[str, str]:
    """The dictionary called `topics` that the module `pydoc_data.topics` consists of."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            topics = ast.literal_eval(node.value)
            return {str(topic): str(text) for topic, text in topics.items()}
    return {}
