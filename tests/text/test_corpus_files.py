"""What a setting may name: files, lists, directories, globs, built-in corpora; every refusal."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from llm_timecycle.errors import DataError
from llm_timecycle.text import corpus as corpora
from llm_timecycle.text.corpus import open_corpus


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A directory of texts, each holding its own path; none of the hidden ones is text."""
    names = ["b.txt", "a.txt", "c.md", "in/d.TXT", "in/deep/e.txt", "in/g.gz", "in/f.txt.gz"]
    for name in [*names, ".hidden.txt", ".git/h.txt", "in/i.tar.gz", "in/j.png"]:
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = name.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return tmp_path


def read(spec: str | list[str], base: Path) -> list[str]:
    """The text of every document that `spec` names."""
    corpus = open_corpus(spec, base, base / "cache")
    return ["".join(chunk.text for chunk in each.chunks()) for each in corpus.documents()]


def refuse(spec: str | list[str], base: Path) -> str:
    """The message with which `spec` is refused."""
    with pytest.raises(DataError) as caught:
        open_corpus(spec, base, base / "cache")
    return str(caught.value)


def test_a_file_is_found_from_the_base_and_by_its_full_path(base):
    assert read("texts/c.md", base) == ["c.md"]
    assert read(str(base / "texts/c.md"), Path("/")) == ["c.md"]


def test_a_tilde_is_the_home_directory(base, monkeypatch):
    monkeypatch.setenv("HOME", str(base / "texts"))
    assert read("~/a.txt", Path("/")) == ["a.txt"]
    assert read("~/?.txt", Path("/")) == ["a.txt", "b.txt"]


def test_a_directory_is_every_text_below_it_sorted(base):
    found = ["a.txt", "b.txt", "in/d.TXT", "in/deep/e.txt", "in/f.txt.gz", "in/g.gz"]
    assert read("texts", base) == found
    assert read("texts/", base) == found


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("texts/*.txt", ["a.txt", "b.txt"]),
        ("texts/**/*.txt", ["a.txt", "b.txt", "in/deep/e.txt"]),
        ("texts/[bc].*", ["b.txt", "c.md"]),
        ("texts/in/*.gz", ["in/f.txt.gz", "in/g.gz", "in/i.tar.gz"]),
    ],
)
def test_a_glob_is_the_files_that_it_matches_sorted(base, pattern, found):
    assert read(pattern, base) == found
    assert read(str(base / pattern), Path("/")) == found


def test_a_path_that_exists_is_not_a_pattern(base):
    (base / "notes[1]").mkdir()
    (base / "notes[1]/x?.txt").write_text("what")
    assert read("notes[1]/x?.txt", base) == ["what"]
    assert read("x*.txt", base / "notes[1]") == ["what"]


def test_a_list_keeps_its_order_and_reads_a_file_once(base):
    (base / "texts/link.txt").symlink_to(base / "texts/b.txt")
    spec = ["texts/c.md", "texts/b.txt", "texts/*.txt", "texts/in/../c.md"]
    assert read(spec, base) == ["c.md", "b.txt", "a.txt"]


def test_empty_files_of_a_directory_are_skipped(base):
    (base / "texts/in/empty.txt").touch()
    (base / "texts/in/empty.gz").write_bytes(gzip.compress(b""))
    (base / "texts/in/mark.txt").write_bytes(b"\xef\xbb\xbf")
    assert read("texts/in", base) == ["in/d.TXT", "in/deep/e.txt", "in/f.txt.gz", "in/g.gz"]
    assert read("texts/in/**/*.txt", base) == ["in/deep/e.txt"]


@pytest.mark.parametrize(
    ("name", "first_words"),
    [
        ("sample-english", "The Clock in the Square\nThere was once a small town"),
        ("sample-chinese", "河边的钟\n小城在河的转弯处"),
    ],
)
def test_the_samples_come_with_the_program(tmp_path, name, first_words):
    [text] = read(name, tmp_path)
    assert text.startswith(first_words)
    assert text.endswith("\n")
    assert "\n\n" not in text


def test_the_chinese_sample_is_chinese_of_a_known_size(tmp_path):
    [text] = read("sample-chinese", tmp_path)
    assert 5_000 <= len(re.findall("[\u4e00-\u9fff]", text)) <= 6_000
    assert re.sub("[\u4e00-\u9fff，。：；？！、“”《》\n]", "", text) == ""


def test_the_english_sample_is_plain_ascii_of_a_known_size(tmp_path):
    [text] = read("sample-english", tmp_path)
    assert text.isascii()
    assert 12_000 <= len(text) <= 16_000


def test_the_samples_of_an_installed_package_are_its_own(tmp_path, monkeypatch):
    package = tmp_path / "package"
    (package / "data").mkdir(parents=True)
    (package / "data/english.txt").write_text("inside the wheel")
    monkeypatch.setattr(corpora, "__file__", str(package / "text/corpus.py"))
    assert read("sample-english", tmp_path) == ["inside the wheel"]


def test_python_docs_is_extracted_into_the_cache(tmp_path, monkeypatch):
    def extract(cache: Path, show_progress: bool) -> Path:
        assert not show_progress
        cache.mkdir()
        (cache / "docs.txt").write_text("prose\n")
        return cache / "docs.txt"

    monkeypatch.setattr(corpora, "extract_python_docs", extract)
    assert read("python-docs", tmp_path) == ["prose\n"]


def test_a_file_named_like_a_built_in_corpus_is_written_as_a_path(base):
    (base / "sample-english").write_text("mine")
    assert read("./sample-english", base) == ["mine"]
    assert read("sample-english", base) != ["mine"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("texts/x.txt", r"there is no file .*texts/x\.txt"),
        ("texts/aa.txt", r"there is no file .*texts/aa\.txt\. Did you mean a\.txt\?"),
        ("nowhere/x.txt", r"there is no file .*: there is no directory .*nowhere$"),
        ("python_docs", r"no built-in corpus named python_docs\. Did you mean python-docs\?"),
        ("sample-englisch", r"Did you mean sample-english\?"),
        (
            "wikipedia",
            r"there is no file .*wikipedia, and no built-in corpus named wikipedia\. "
            r"The built-in corpora: python-docs, sample-english, sample-chinese$",
        ),
        ("texts/*.doc", r"texts/\*\.doc matches no file; expected a pattern such as texts/\*\.txt"),
        ("texts/i*", r"texts/i\* matches no file"),  # a directory only
        ("bare", r"the directory .*bare has no text; expected files that end in \.txt"),
        ("empty.txt", r"empty\.txt is empty; expected text"),
        ("mark.txt", r"mark\.txt is empty; expected text"),
        ("empty.gz", r"empty\.gz is empty; expected text"),
        ("hollow", r"hollow has only empty files; expected text in at least one of them"),
        ("hollow/*.txt", r"hollow/\*\.txt has only empty files"),
        ("broken.gz", r"broken\.gz is damaged, or is not a gzip file"),
        ("once upon a time " * 30, r"^once upon .* cannot be read: File name too long$"),
    ],
)
def test_what_cannot_be_found_is_refused(base, spec, message):
    (base / "bare").mkdir()
    (base / "bare/j.png").write_bytes(b"\x89PNG")
    (base / "hollow").mkdir()
    (base / "hollow/a.txt").touch()
    (base / "empty.txt").touch()
    (base / "mark.txt").write_bytes(b"\xef\xbb\xbf")
    (base / "empty.gz").write_bytes(gzip.compress(b""))
    (base / "broken.gz").write_bytes(b"\x1f\x8b and no more")
    assert re.search(message, refuse(spec, base))
    assert re.search(message, refuse(["texts/a.txt", spec], base))


def test_a_directory_that_cannot_be_listed_is_refused(base, monkeypatch):
    def refuse_listing(*_: object) -> None:  # the tests may run as root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(corpora.os, "scandir", refuse_listing)
    assert "texts cannot be read: Permission denied" in refuse("texts", base)
