"""The prose of the standard library: what counts as prose, how it is laid out, how it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_timecycle.errors import DataError
from llm_timecycle.text import corpus, python_docs
from llm_timecycle.text.corpus import open_corpus
from llm_timecycle.text.files.find import Found, find_files
from llm_timecycle.text.prepare import find_cache_directory
from llm_timecycle.text.python_docs import (
    extract_python_docs,
    is_prose,
    list_paragraphs,
    list_prose,
)

MODULE = '''"""The first module tells the time to all who ask.

>>> tell_time()
"""
raise SystemExit("this module was imported")

class Clock:
    """A clock that is wound in the morning by the guard."""

    async def tick(self):
        """Move the hand by one step and
        then wait for the next second.
        """
        "Not a docstring, though it is a string of many words."

def repeat():
    """A clock that is wound in the morning by the guard."""
'''
TOPICS = r"""# a comment
topics = {'rivers': '\n  Rivers\n  ******\n\n'
                    '  A river is a kind of clock that does not repeat.\n'}
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A small standard library, some of which must not be read."""
    hidden = '"""This is a sentence that should not be found by anyone."""\n'
    files = {
        "first.py": MODULE,
        "pydoc_data/topics.py": TOPICS,
        "broken.py": hidden + "def (:\n",
        "null.py": hidden + "\0",
        "latin.py": '# coding: latin-1\n"""The caf\xe9 is open to all who are in need of it."""\n',
        "escape.py": '"""An escape such as \\d is old, and it is read all the same."""\n',
        "test/test_first.py": hidden,
        "lib/tests/a.py": hidden,
        "idlelib/idle_test/a.py": hidden,
        "site-packages/a.py": hidden,
        "notes.txt": hidden,
    }
    for name, text in files.items():
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1"))
    return tmp_path / "library"


def test_prose_is_found_once_by_parsing_alone(library):
    assert sorted(list_prose(library)) == [
        "A clock that is wound in the morning by the guard.",
        "A river is a kind of clock that does not repeat.",
        "An escape such as \\d is old, and it is read all the same.",
        "Move the hand by one step and then wait for the next second.",
        "The caf\xe9 is open to all who are in need of it.",
        "The first module tells the time to all who ask.",
    ]


def test_progress_goes_to_stderr_alone_and_only_when_asked_for(library, capsys):
    list_prose(library)
    assert capsys.readouterr() == ("", "")
    list_prose(library, show_progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "reading python-docs" in captured.err


@pytest.mark.parametrize(
    ("docstring", "paragraphs"),
    [
        ("", []),
        ("One is here.\n\nTwo is here.", []),  # too short to learn a sentence from
        (
            "Return the time of the\n    clock in the square.\n\n\n  It is a number of seconds.",
            ["Return the time of the clock in the square.", "It is a number of seconds."],
        ),
        (
            "The parts are these:\n\n- the wheel, which is made of brass;\n  and it is round\n"
            "* the hand of the clock, which is long\n2. the bell that is in the tower",
            [
                "the wheel, which is made of brass; and it is round",
                "the hand of the clock, which is long",
                "the bell that is in the tower",
            ],
        ),
        (
            "Wind the clock in the morning, as in this::\n>>> wind(clock)\nTrue",
            ["Wind the clock in the morning, as in this:"],
        ),
        (
            "Call :meth:`wind` or ``:func:`stop` `` on the *main* clock, and be **very careful** "
            "with it.",
            ["Call wind or stop on the main clock, and be very careful with it."],
        ),
        (
            "The product a * b is the area of the square, and x ** 2 is too.",
            ["The product a * b is the area of the square, and x ** 2 is too."],
        ),
        (
            "It's the clock’s own “time” in the tower.",
            ["It's the clock's own \"time\" in the tower."],
        ),
        ("The title of the part that is below\n===================================", []),
        ("clock.wind(key, times=1) -- wind it, as it is to be wound", []),
        ("name      what the name of it is\nage       how old the clock is", []),
        ("+-----+\n| the | clock that is in the square.\n+-----+", []),
        ("clock_stmt ::= 'wind' clock in the morning of the day", []),
        (".. note:: this is a directive of the markup, and not prose", []),
    ],
)
def test_paragraphs_worked_by_hand(docstring, paragraphs):
    assert list(list_paragraphs(docstring)) == paragraphs


@pytest.mark.parametrize(
    ("paragraph", "is_text"),
    [
        ("The clock is in the square.", True),
        ("The clock is there.", False),  # four words
        ("whether the clock is in the square", True),
        ("Is the clock (or the bell) in the square?", True),
        ("for i in range(10): print(i, end='') if i else None", False),  # 4 words in 10 are words
        ("alpha beta gamma delta epsilon zeta", False),  # no word that joins others
        ("= the clock is in the square", False),
        ("The clock is in the square ->", False),
        ("wind(clock) is to be called in the morning", False),
        # Six words in eight are 0.75, which is enough; six in nine are not.
        ("The clock is at x[0] and y[1] now", True),
        ("The clock is at x[0] and y[1] z[2] now", False),
        # One joining word in eight is 0.125, which is enough; one in nine is 0.111.
        ("Clocks ticking slowly, rivers flowing down the valley", True),
        ("Clocks ticking slowly, rivers flowing quickly down the valley", False),
    ],
)
def test_prose_is_told_from_what_is_not(paragraph, is_text):
    assert is_prose(paragraph) is is_text


def test_every_part_of_the_corpus_samples_many_modules(tmp_path):
    for module in range(40):
        lines = [f'def f{i}():\n    "It is part {i} of the module {module}."' for i in range(50)]
        (tmp_path / f"m{module:02}.py").write_text("\n".join(lines))
    prose = list_prose(tmp_path)
    modules = [line.split()[-1] for line in prose]
    assert len(prose) == len(set(prose)) == 2_000
    # A tenth is 200 paragraphs, eight sections of 25 at the least.
    for start in range(0, 2_000, 200):
        assert len(set(modules[start : start + 200])) >= 5
    # Within a section the order of the module stays.
    first = int(prose[0].split()[3])
    assert [int(line.split()[3]) for line in prose[:25]] == list(range(first, first + 25))


@pytest.fixture
def small_library(library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small standard library, taken for that of the running Python."""
    monkeypatch.setattr(python_docs.sysconfig, "get_path", lambda _: str(library))
    return library


def test_the_text_is_made_once_and_kept(small_library, tmp_path, monkeypatch):
    path, content = extract_python_docs(tmp_path / "new/cache")
    assert path.read_bytes() == content
    text = path.read_text(encoding="utf-8")
    assert text.splitlines() == list_prose(small_library)
    assert text.endswith("\n")
    assert [file.name for file in path.parent.iterdir()] == [path.name]

    monkeypatch.setattr(python_docs, "list_prose", None)
    assert extract_python_docs(tmp_path / "new/cache").path == path


@pytest.mark.usefixtures("small_library")
def test_a_text_that_was_changed_is_extracted_again(tmp_path, caplog):
    path, content = extract_python_docs(tmp_path)
    path.write_bytes(content.replace(b"clock", b"block", 1))
    assert extract_python_docs(tmp_path) == (path, content)
    assert "is damaged" in caplog.text


@pytest.mark.usefixtures("small_library")
def test_a_text_that_is_changed_after_it_was_found_is_refused(tmp_path, monkeypatch):
    def find(*arguments: object) -> Found:
        found = find_files(*arguments)
        content = found.paths[0].read_bytes()
        found.paths[0].write_bytes(content.replace(b"clock", b"block", 1))
        return found

    monkeypatch.setattr(corpus, "find_files", find)
    with pytest.raises(DataError, match="changed while it was being read"):
        open_corpus("python-docs", tmp_path, tmp_path)


def test_another_python_makes_another_file(small_library, tmp_path, monkeypatch):
    first = extract_python_docs(tmp_path)
    monkeypatch.setattr(python_docs.platform, "python_version", lambda: "3.99.0")
    second = extract_python_docs(tmp_path)
    assert second.path.name.startswith("python-docs-3.99.0-")
    small_library.rename(tmp_path / "moved")
    monkeypatch.setattr(python_docs.sysconfig, "get_path", lambda _: str(tmp_path / "moved"))
    assert len({first, second, extract_python_docs(tmp_path)}) == 3


@pytest.mark.usefixtures("small_library")
def test_an_interrupted_extraction_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DataError, match=r"cannot be written: the disk is full"):
        extract_python_docs(tmp_path / "cache")
    assert list((tmp_path / "cache" / "texts").iterdir()) == []


@pytest.mark.usefixtures("small_library")
def test_a_cache_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cache/texts cannot be written: a file is where"):
        extract_python_docs(tmp_path / "file/cache")


def test_a_python_without_sources_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(python_docs.sysconfig, "get_path", lambda _: str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"no sources of its standard library in .*data\.train"):
        extract_python_docs(tmp_path)


def test_the_real_library_gives_a_corpus_of_the_promised_size():
    text = extract_python_docs(find_cache_directory()).content.decode()
    lines = text.splitlines()
    # About 250,000 words; a distribution may leave parts of the library out.
    assert 150_000 < len(text.split()) < 350_000
    assert len(lines) == len(set(lines))
    assert not [line for line in lines if ">>>" in line[:3] or "  " in line]
