"""Corpora: documents in pieces, hashes that follow the text, and parts of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_timecycle.errors import DataError
from llm_timecycle.text import text_file
from llm_timecycle.text.corpus import Corpus, open_corpus

TEXTS = st.lists(
    st.text(alphabet="ab \n钟🕰", min_size=1, max_size=60), min_size=1, max_size=4, unique=True
)
EVERY_EXAMPLE_REWRITES_FILES = [HealthCheck.function_scoped_fixture]


def open_texts(directory: Path, *texts: str) -> Corpus:
    """A corpus with a document for each text."""
    for number, text in enumerate(texts):
        (directory / f"{number}.txt").write_text(text, encoding="utf-8", newline="")
    names = [f"{number}.txt" for number in range(len(texts))]
    return open_corpus(names, directory, directory / "cache")


def read(corpus: Corpus | None) -> list[str]:
    """The text of every document."""
    assert corpus is not None
    return ["".join(chunk.text for chunk in each.chunks()) for each in corpus.documents()]


def test_documents_keep_their_order_and_names(tmp_path):
    corpus = open_texts(tmp_path, "one", "two")
    assert read(corpus) == ["one", "two"]
    names = [document.name for document in corpus.documents()]
    assert names == [str(tmp_path / "0.txt"), str(tmp_path / "1.txt")]
    assert corpus.count_characters() == 6
    assert corpus.name == "0.txt and 1 more"


def test_a_chunk_ends_after_a_line_break(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 8)
    document = open_texts(tmp_path, "one\ntwo\nthree\nfour").texts[0]
    # Blocks: "one\ntwo\n", "three\nfo", "ur".
    assert list(document.chunks()) == [("one\ntwo\n", ()), ("three\n", ()), ("four", (4,))]


def test_in_a_long_line_a_chunk_ends_before_a_space(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 8)
    document = open_texts(tmp_path, "seven eight nine ten").texts[0]
    # Blocks: "seven ei", "ght nine", " ten".
    assert list(document.chunks()) == [
        ("seven", ()),
        (" eight", ()),
        (" nine", ()),
        (" ten", (4,)),
    ]


def test_a_long_line_without_spaces_is_not_kept_together(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 9)
    document = open_texts(tmp_path, "钟" * 9).texts[0]
    assert list(document.chunks()) == [("钟" * 3, ()), ("钟" * 3, ()), ("钟" * 3, (3,))]


def test_a_cut_is_no_end_of_a_document(tmp_path):
    document = open_texts(tmp_path, "river").texts[0]
    assert list(document.cut(0, 3).chunks()) == [("riv", ())]
    assert list(document.cut(3, 5).chunks()) == [("er", (2,))]


def test_chunks_are_about_a_megabyte(tmp_path):
    line = "the river and the clock\n"
    document = open_texts(tmp_path, line * 200_000).texts[0]
    lengths = [len(chunk.text) for chunk in document.chunks()]
    assert sum(lengths) == 200_000 * len(line)
    assert len(lengths) == 5  # 4.8 million bytes
    assert all(length % len(line) == 0 for length in lengths)


def test_the_hash_follows_content_and_borders_only(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    known = open_texts(tmp_path / "x", "one\n", "two").sha256()
    assert open_texts(tmp_path / "y", "one\n", "two").sha256() == known
    assert open_texts(tmp_path / "y", "one\r\n", "\ufefftwo").sha256() == known
    others = [["one\n", "twO"], ["one\ntwo"], ["one", "\ntwo"], ["two", "one\n"], ["one\n"]]
    assert known not in [open_texts(tmp_path / "y", *texts).sha256() for texts in others]


def test_the_hash_of_what_is_compressed_is_that_of_its_content(tmp_path):
    plain = open_texts(tmp_path, "river")
    (tmp_path / "r.gz").write_bytes(gzip.compress(b"river"))
    assert open_corpus("r.gz", tmp_path, tmp_path).sha256() == plain.sha256()


def test_the_hash_of_a_part_follows_its_cuts_and_its_text(tmp_path):
    corpus = open_texts(tmp_path, "a\n" * 50)
    hashes = {corpus.cut(start, stop, "").sha256() for start, stop in [(0, 50), (0, 52), (2, 52)]}
    assert len(hashes) == 3
    assert corpus.cut(0, 100, "").sha256() == corpus.sha256()
    changed = open_texts(tmp_path, "a\n" * 10 + "b\n" + "a\n" * 39)
    assert changed.cut(0, 50, "").sha256() not in hashes


@given(texts=TEXTS, cuts=st.lists(st.integers(0, 250), min_size=4, max_size=4))
@settings(max_examples=100, suppress_health_check=EVERY_EXAMPLE_REWRITES_FILES)
def test_a_part_of_a_part_is_a_part(tmp_path, texts, cuts):
    corpus = open_texts(tmp_path, *texts)
    (start, stop), (inner_start, inner_stop) = sorted(cuts[:2]), sorted(cuts[2:])
    part = corpus.cut(start, stop, "").cut(inner_start, inner_stop, "")
    assert "".join(read(part)) == "".join(texts)[start:stop][inner_start:inner_stop]
    last = min(start + inner_stop, stop)
    assert part.sha256() == corpus.cut(start + inner_start, last, "").sha256()


def test_bad_bytes_far_into_a_text_are_refused_when_it_is_opened(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"river\n" * 500_000 + b"\xff")
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8 text: the byte at offset 3000000 "):
        open_corpus("a.txt", tmp_path, tmp_path)


def test_progress_goes_to_stderr_alone_and_only_when_asked_for(tmp_path, capsys):
    open_texts(tmp_path, "river")
    assert capsys.readouterr() == ("", "")
    open_corpus("0.txt", tmp_path, tmp_path, show_progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "reading 0.txt" in captured.err
