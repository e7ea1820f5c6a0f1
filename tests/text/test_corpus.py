"""Corpora: documents in pieces, hashes that follow the text, and parts that join to the whole."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_timecycle.errors import DataError
from llm_timecycle.text import text_file
from llm_timecycle.text.corpus import Corpus, open_corpus, split_corpus

TEXTS = st.lists(st.text(alphabet="ab \n钟🕰", min_size=1, max_size=60), min_size=1, max_size=4)
FRACTIONS = st.sampled_from([0.0, 0.05, 0.2, 0.5])
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
    # Blocks end after 3 + 8 and 19 bytes: "one\ntwo\nthr", "ee\nfour".
    assert list(document.chunks()) == [("one\ntwo\n", ()), ("three\n", ()), ("four", (4,))]


def test_in_a_long_line_a_chunk_ends_before_a_space(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 8)
    document = open_texts(tmp_path, "seven eight nine ten").texts[0]
    # Blocks end after 3 + 8 and 19 bytes: "seven eight", " nine te", "n".
    assert list(document.chunks()) == [("seven", ()), (" eight nine", ()), (" ten", (4,))]


def test_a_long_line_without_spaces_is_not_kept_together(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 9)
    document = open_texts(tmp_path, "钟" * 9).texts[0]
    assert list(document.chunks()) == [("钟" * 4, ()), ("钟" * 3, ()), ("钟" * 2, (2,))]


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


@pytest.mark.parametrize(
    ("text", "valid", "test", "parts"),
    [
        # 20 characters; the fractions fall on the starts of lines.
        ("aaaa\nbbbb\ncccc\ndddd\n", 0.25, 0.25, ["aaaa\nbbbb\n", "cccc\n", "dddd\n"]),
        # 0.3 begins at character 14, which is in the third line: on to character 15.
        ("aaaa\nbbbb\ncccc\ndddd\n", 0.3, 0.0, ["aaaa\nbbbb\ncccc\n", "dddd\n", None]),
        ("aaaa\nbbbb\ncccc\ndddd\n", 0.0, 0.5, ["aaaa\nbbbb\n", None, "cccc\ndddd\n"]),
        ("aaaa\nbbbb\ncccc\ndddd\n", 0.0, 0.0, ["aaaa\nbbbb\ncccc\ndddd\n", None, None]),
        # No line break follows: the parts that remain are empty.
        ("aaaa bbbb", 0.2, 0.2, ["aaaa bbbb", "", ""]),
        # 2,002 characters, and the break is 1,000 after 1,001 (the half): just near enough.
        ("a" * 2000 + "\nb", 0.5, 0.0, ["a" * 2000 + "\n", "b", None]),
        # 2,004 characters, and the break is 1,001 after 1,002: too far.
        ("a" * 2002 + "\nb", 0.5, 0.0, ["a" * 1002, "a" * 1000 + "\nb", None]),
        # As far away, the end of the text counts as a break.
        ("a" * 2000, 0.5, 0.0, ["a" * 2000, "", None]),
        ("a" * 2002, 0.5, 0.0, ["a" * 1001, "a" * 1001, None]),
    ],
)
def test_a_split_worked_by_hand(tmp_path, text, valid, test, parts):
    found = split_corpus(open_texts(tmp_path, text), valid, test)
    assert [None if part is None else "".join(read(part)) for part in found] == parts


def test_a_cut_may_fall_between_documents(tmp_path):
    corpus = open_texts(tmp_path, "aaaa", "bbb", "ccccc")
    # 0.5 begins at character 6 of 12, in the second document: on to where the third begins.
    train, valid, _ = split_corpus(corpus, 0.5, 0.0)
    assert read(train) == ["aaaa", "bbb"]
    assert read(valid) == ["ccccc"]
    assert all(document.reaches_end for document in train.documents())


def test_a_part_knows_whether_it_ends_where_its_document_does(tmp_path):
    train, valid, test = split_corpus(open_texts(tmp_path, "aaaa\nbbbb\ncccc\ndddd\n"), 0.25, 0.25)
    assert valid is not None
    assert test is not None
    ends = [document.reaches_end for part in (train, valid, test) for document in part.documents()]
    assert ends == [False, False, True]
    assert train.name == "the training part of 0.txt"
    assert valid.name == "the validation part of 0.txt"
    assert test.name == "the test part of 0.txt"


@given(texts=TEXTS, valid=FRACTIONS, test=FRACTIONS, block_bytes=st.integers(1, 9))
@settings(max_examples=150, deadline=None, suppress_health_check=EVERY_EXAMPLE_REWRITES_FILES)
def test_the_parts_join_to_the_whole(tmp_path, texts, valid, test, block_bytes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "BLOCK_BYTES", block_bytes)
        corpus = open_texts(tmp_path, *texts)
        parts = split_corpus(corpus, valid, test)
        joined = "".join(text for part in parts if part for text in read(part))
    assert joined == "".join(texts)
    assert (parts[1] is None, parts[2] is None) == (valid == 0, test == 0)
    assert sum(part.count_characters() for part in parts if part) == len(joined)
    assert sum(d.reaches_end for part in parts if part for d in part.documents()) == len(texts)


@given(texts=TEXTS, cuts=st.lists(st.integers(0, 250), min_size=4, max_size=4))
@settings(max_examples=100, deadline=None, suppress_health_check=EVERY_EXAMPLE_REWRITES_FILES)
def test_a_part_of_a_part_is_a_part(tmp_path, texts, cuts):
    corpus = open_texts(tmp_path, *texts)
    (start, stop), (inner_start, inner_stop) = sorted(cuts[:2]), sorted(cuts[2:])
    part = corpus.cut(start, stop, "").cut(inner_start, inner_stop, "")
    assert "".join(read(part)) == "".join(texts)[start:stop][inner_start:inner_stop]
    last = min(start + inner_stop, stop)
    assert part.sha256() == corpus.cut(start + inner_start, last, "").sha256()


def test_a_split_reads_the_whole_once_and_then_near_the_cuts_only(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 1 << 16)
    corpus = open_texts(tmp_path, "the river\n" * 200_000)
    read_bytes = 0
    decode = text_file.codecs.utf_8_decode

    def count(data: bytes, errors: str, final: bool) -> tuple[str, int]:
        nonlocal read_bytes
        read_bytes += len(data)
        return decode(data, errors, final)

    monkeypatch.setattr(text_file.codecs, "utf_8_decode", count)
    parts = split_corpus(corpus, 0.05, 0.05)
    hashes = {part.sha256() for part in parts if part}
    assert len(hashes) == 3
    assert read_bytes < 2_000_000 + 6 * (1 << 16)


def test_bad_bytes_far_into_the_text_stop_a_split(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"river\n" * 500_000 + b"\xff")
    corpus = open_corpus("a.txt", tmp_path, tmp_path)
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8 text: the byte at offset 3000000 "):
        split_corpus(corpus, 0.1, 0.1)


def test_progress_goes_to_stderr_alone_and_only_when_asked_for(tmp_path, capsys):
    open_texts(tmp_path, "river").measure()
    assert capsys.readouterr() == ("", "")
    open_texts(tmp_path, "river").measure(show_progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "reading 0.txt" in captured.err
