"""What a setting may name: files, lists, directories, globs, built-in corpora; every refusal."""

from __future__ import annotations

import gzip
import logging
import re
from pathlib import Path

import pytest
from backports import zstd

from llm_timecycle.config.text_settings import DataSettings
from llm_timecycle.errors import DataError
from llm_timecycle.text.cached_files import CachedFile, write_cached
from llm_timecycle.text.corpus import open_corpus
from llm_timecycle.text.files import find
from llm_timecycle.text.files.find import find_files


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
    found = ["a.txt", "b.txt", "c.md", "in/d.TXT", "in/deep/e.txt", "in/f.txt.gz", "in/g.gz"]
    assert read("texts", base) == found
    assert read("texts/", base) == found


@pytest.mark.parametrize(
    "name", ["a.md", "a.rst", "a.tex", "a.srt", "a.csv", "a.tsv", "a.jsonl", "a.Md.ZST", "a.zst"]
)
def test_kinds_of_text_in_a_directory(tmp_path, name):
    place = tmp_path / "here"
    place.mkdir()
    content = zstd.compress(b"river") if name.lower().endswith("zst") else b"river"
    (place / name).write_bytes(content)
    (place / "LICENSE").write_text("passed over")
    assert read("here", tmp_path) == ["river"]


@pytest.mark.parametrize("spec", ["book", "book/*.txt", "book/**/*"])
def test_the_order_is_natural(tmp_path, spec):
    names = ["Chapter 2", "chapter 10", "chapter 1", "chapter 02b", "chapter 9/1", "part"]
    for name in names:
        path = tmp_path / "book" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(name)
    found = ["chapter 1", "Chapter 2", "chapter 02b", "chapter 9/1", "chapter 10", "part"]
    assert read(spec, tmp_path) == [n for n in found if "/" not in n or spec != "book/*.txt"]


def test_links_are_followed_and_a_loop_is_said(base, caplog):
    caplog.set_level(logging.INFO)
    (base / "elsewhere").mkdir()
    (base / "elsewhere/z.txt").write_text("z")
    (base / "texts/link").symlink_to(base / "elsewhere")
    (base / "texts/link 2").symlink_to(base / "elsewhere")
    (base / "texts/in/deep/up").symlink_to(base / "texts")
    (base / "elsewhere/itself").symlink_to(base / "elsewhere")
    found = read("texts", base)
    assert sorted(found) == ["a.txt", "b.txt", "c.md", *sorted(found)[3:7], "z"]
    assert f"in/deep/up leads back to {base.resolve()}/texts: not followed" in caplog.text
    assert f"link/itself leads back to {base.resolve()}/elsewhere: not followed" in caplog.text


def test_a_link_to_nothing_is_named(base):
    (base / "texts/gone.txt").symlink_to(base / "nowhere.txt")
    assert "gone.txt is a link to a file that does not exist" in refuse("texts", base)


def test_one_line_says_what_is_read_and_what_is_not(base, caplog):
    caplog.set_level(logging.INFO)
    (base / "texts/empty.txt").touch()
    (base / "texts/NOTES").write_text("no suffix")
    read("texts", base)
    (line,) = caplog.messages
    files, _, passed_over = line.partition("; passed over: ")
    assert files == (
        f"texts: 7 files are read, {base}/texts/a.txt first and {base}/texts/in/g.gz last"
    )
    assert sorted(passed_over.split(", ")) == [
        *("1 .png", "1 .tar.gz", "1 empty", "1 without a suffix")
    ]


def test_nothing_is_said_about_one_file(base, caplog):
    caplog.set_level(logging.INFO)
    read("texts/a.txt", base)
    assert caplog.messages == []


def test_a_glob_that_names_no_suffix_takes_texts_only(base, caplog):
    caplog.set_level(logging.INFO)
    assert read("texts/in/*", base) == ["in/d.TXT", "in/f.txt.gz", "in/g.gz"]
    assert "passed over: 1 .png, 1 .tar.gz" in caplog.text
    (base / "texts/x.log").write_text("log")
    assert read("texts/*.log", base) == ["log"]


def test_records_are_sought_in_tables_only(base):
    (base / "texts/in/r.csv").write_text("text\none\n")
    corpus = open_corpus("texts", base, base, how=DataSettings(documents="record"))
    assert [document.name for document in corpus.documents()] == [str(base / "texts/in/r.csv")]


def test_a_table_read_as_text_is_said(base, caplog):
    caplog.set_level(logging.INFO)
    (base / "r.csv").write_text("text\none\n")
    assert read("r.csv", base) == ["text\none\n"]
    assert "r.csv is read as it stands" in caplog.text
    assert "set data.documents to record" in caplog.text


def test_a_text_that_is_there_twice_is_read_once(base, caplog):
    caplog.set_level(logging.INFO)
    (base / "texts/copy of a.txt").write_text("a.txt")
    (base / "texts/a.txt.gz").write_bytes(gzip.compress(b"a.txt"))
    (base / "texts/utf-8.txt").write_bytes(b"\xef\xbb\xbfb.txt")
    (base / "texts/link.txt").symlink_to(base / "texts/b.txt")
    assert read("texts/*", base) == ["a.txt", "b.txt", "c.md"]
    said = [line for line in caplog.messages if "has the same text as" in line]
    assert len(said) == 3
    assert f"{base}/texts/link.txt has the same text as {base}/texts/b.txt: read once" in said
    assert "1 more file is a copy too: read once" in caplog.text


def test_equal_lines_are_kept(base):
    (base / "h.txt").write_text("Rain\nSun\nRain\n")
    corpus = open_corpus("h.txt", base, base, how=DataSettings(documents="line"))
    assert corpus.count_characters() == 11


def test_the_encoding_is_that_of_the_settings_except_for_what_is_built_in(base):
    (base / "g.txt").write_bytes("河边的钟".encode("gb18030"))
    how = DataSettings(encoding="gb18030")
    corpus = open_corpus(["g.txt", "sample-chinese"], base, base, how=how)
    own, sample = ["".join(chunk.text for chunk in each.chunks()) for each in corpus.documents()]
    assert own == "河边的钟"
    assert sample.startswith("河边的钟\n")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("t/**/*.txt", ["a.txt", "in/b.txt"]),
        ("t/**", ["a.txt", "in/b.txt", "in/c.md"]),
        ("t/**/**/in/*.txt", ["in/b.txt"]),
        ("t/**/in/**/b*", ["in/b.txt"]),
        ("?/**/.hidden/*.txt", [".hidden/d.txt"]),
        ("**/c.md", ["in/c.md"]),
    ],
)
def test_links_that_lead_back_up_are_not_followed_for_ever(tmp_path, pattern, found):
    """Two of them, and there are more paths than anybody can count."""
    for name in ("a.txt", "in/b.txt", "in/c.md", ".hidden/d.txt"):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_text(name)
    for name in ("x", "y", "in/z"):
        (tmp_path / "t" / name).symlink_to(tmp_path / "t")
    paths = find_files(pattern, tmp_path, tmp_path).paths
    assert [str(path.relative_to(tmp_path / "t")) for path in paths] == found


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
    assert 36_000 <= len(re.findall("[\u4e00-\u9fff]", text)) <= 40_000
    assert re.sub("[\u4e00-\u9fff，。：；？！、“”《》\n]", "", text) == ""


def test_the_english_sample_is_plain_ascii_of_a_known_size(tmp_path):
    [text] = read("sample-english", tmp_path)
    assert text.isascii()
    assert 120_000 <= len(text) <= 130_000


def test_the_samples_of_an_installed_package_are_its_own(tmp_path, monkeypatch):
    package = tmp_path / "package"
    (package / "data").mkdir(parents=True)
    (package / "data/english.txt").write_text("inside the wheel")
    monkeypatch.setattr(find, "__file__", str(package / "text/files/find.py"))
    assert read("sample-english", tmp_path) == ["inside the wheel"]


def test_python_docs_is_extracted_into_the_cache(tmp_path, monkeypatch):
    def extract(cache: Path, show_progress: bool) -> CachedFile:
        assert not show_progress
        return write_cached(cache, "docs", ".txt", b"prose\n")

    monkeypatch.setattr(find, "extract_python_docs", extract)
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
        ("bare", r"the directory .*bare has no text; .* end in \.txt, .*\. It has 1 \.png$"),
        ("bare/*", r"bare/\* matches no text; expected files that end in \.txt.* It has 1 \.png$"),
        ("empty.txt", r"empty\.txt is empty; expected text"),
        ("mark.txt", r"mark\.txt is empty; expected text"),
        ("empty.gz", r"empty\.gz is empty; expected text"),
        ("hollow", r"hollow has only empty files; expected text in at least one of them"),
        ("hollow/*.txt", r"hollow/\*\.txt has only empty files"),
        ("broken.gz", r"broken\.gz is damaged, or is not a gzip file"),
        (
            "once upon a time " * 30,
            r"^/.*\.\.\..*upon a time  cannot be the name of a file: it is ",
        ),
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

    monkeypatch.setattr(find.os, "scandir", refuse_listing)
    assert "texts cannot be read: Permission denied" in refuse("texts", base)
