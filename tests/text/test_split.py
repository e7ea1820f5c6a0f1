"""The split: where cuts fall, worked by hand, and laws for every text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from llm_timecycle.config.text_settings import DataSettings
from llm_timecycle.text import text_file
from llm_timecycle.text.corpus import Corpus, open_corpus
from llm_timecycle.text.files import split_file
from llm_timecycle.text.split import split_corpus

TEXTS = st.lists(
    st.text(alphabet="ab \n钟🕰", min_size=1, max_size=60), min_size=1, max_size=4, unique=True
)
FRACTIONS = st.sampled_from([0.0, 0.05, 0.2, 0.5])
EVERY_EXAMPLE_REWRITES_FILES = [HealthCheck.function_scoped_fixture]


def open_texts(directory: Path, *texts: str) -> Corpus:
    """A corpus with a document for each text."""
    for number, text in enumerate(texts):
        (directory / f"{number}.txt").write_text(text, encoding="utf-8", newline="")
    names = [f"{number}.txt" for number in range(len(texts))]
    return open_corpus(names[0] if len(names) == 1 else names, directory, directory / "cache")


def open_documents(directory: Path, documents: str, text: str) -> Corpus:
    """A corpus of the lines or paragraphs of a text."""
    (directory / "0.txt").write_text(text, encoding="utf-8", newline="")
    how = DataSettings(documents=documents)
    return open_corpus("0.txt", directory, directory / "cache", how=how)


def read(corpus: Corpus | None) -> list[str]:
    """The text of every file."""
    assert corpus is not None
    return ["".join(chunk.text for chunk in each.chunks()) for each in corpus.documents()]


def list_documents(corpus: Corpus) -> list[str]:
    """The documents of a corpus; one that is cut off counts as two."""
    found = [""]
    for text in corpus.documents():
        for chunk in text.chunks():
            start = 0
            for end in chunk.ends:
                found[-1] += chunk.text[start:end]
                found.append("")
                start = end
            found[-1] += chunk.text[start:]
    return [each for each in found if each]


@pytest.mark.parametrize(
    ("text", "valid", "test", "parts"),
    [
        # 20 characters; the fractions fall on the starts of lines.
        ("aaaa\nbbbb\ncccc\ndddd\n", 0.25, 0.25, ["aaaa\nbbbb\n", "cccc\n", "dddd\n"]),
        # 0.3 begins at character 14, which is in the third line: on to character 15.
        ("aaaa\nbbbb\ncccc\ndddd\n", 0.3, 0.0, ["aaaa\nbbbb\ncccc\n", "dddd\n", None]),
        ("aaaa\nbbbb\ncccc\ndddd\n", 0.0, 0.5, ["aaaa\nbbbb\n", None, "cccc\ndddd\n"]),
        ("aaaa\nbbbb\ncccc\ndddd\n", 0.0, 0.0, ["aaaa\nbbbb\ncccc\ndddd\n", None, None]),
        # No line break: validation is to start at 5, after a space, and the test text at 7.
        ("aaaa bbbb", 0.2, 0.2, ["aaaa ", "bb", "bb"]),
        # The next line is 999 characters after the half of 4,000: near enough, but 1,001 are not.
        ("a" * 2998 + "\n" + "b" * 1001, 0.5, 0.0, ["a" * 2998 + "\n", "b" * 1001, None]),
        (
            "a" * 3001 + "\n" + "b" * 998,
            0.5,
            0.0,
            ["a" * 2000, "a" * 1001 + "\n" + "b" * 998, None],
        ),
        # A line before the cut is better than no line.
        ("a" * 1500 + "\n" + "b" * 2499, 0.5, 0.0, ["a" * 1500 + "\n", "b" * 2499, None]),
        # Of 40 characters, the last 10; the end of a sentence is better than a nearer space.
        (
            "One two. Three four five six. Seven eight",
            0.25,
            0.0,
            ["One two. Three four five six. ", "Seven eight", None],
        ),
        ("一二三。四五六。七八九十。", 0.5, 0.0, ["一二三。四五六。", "七八九十。", None]),
        # The next line, 14 on, would leave a part of 6 where 20 are wanted: a space it is.
        (
            "a" * 75 + " " + "a" * 18 + "\n" + "b" * 5,
            0.2,
            0.0,
            ["a" * 75 + " ", "a" * 18 + "\nbbbbb", None],
        ),
        ("aaa", 0.05, 0.05, ["a", "a", "a"]),
    ],
)
def test_a_split_worked_by_hand(tmp_path, text, valid, test, parts):
    found = split_corpus(open_texts(tmp_path, text), valid, test)
    assert [None if part is None else "".join(read(part)) for part in found] == parts


def test_a_cut_near_the_end_of_a_file_falls_on_it(tmp_path):
    # 0.4 begins at 60 of 100, the second file at 70: less than half of the smaller part away.
    train, valid, _ = split_corpus(open_texts(tmp_path, "a" * 70, "b" * 30), 0.4, 0.0)
    assert (read(train), read(valid)) == (["a" * 70], ["b" * 30])
    assert all(document.reaches_end for document in train.documents())
    # 0.05 begins at 95, which is too far away; there is no better place in the second file.
    train, valid, _ = split_corpus(open_texts(tmp_path, "a" * 70, "b" * 30), 0.05, 0.0)
    assert (read(train), read(valid)) == (["a" * 70, "b" * 25], ["b" * 5])


@pytest.mark.parametrize(
    ("documents", "text", "parts"),
    [
        # Of 20 characters in four lines, 0.2 begins at 16; the last line begins at 14.
        ("line", "aaaaa\nbbbbb\ncccc\ndddddd\n", (["aaaaabbbbbcccc"], ["dddddd"], None)),
        ("paragraph", "a\na\n\nbb\n\ncc", (["a\nabb"], ["cc"], None)),
        # One document cannot be cut between documents.
        ("line", "one two three four. five", (["one two three four. "], ["five"], None)),
    ],
)
def test_documents_are_cut_between_documents(tmp_path, documents, text, parts):
    corpus = open_documents(tmp_path, documents, text)
    found = split_corpus(corpus, 0.2, 0.0)
    assert [part and read(part) for part in found] == list(parts)


def test_a_cut_between_documents_ends_one_and_begins_one(tmp_path):
    corpus = open_documents(tmp_path, "line", "aaaa\nbbbb\ncccc\ndd\n")
    found = [part for part in split_corpus(corpus, 0.2, 0.2) if part is not None]
    chunks = [[*document.chunks()] for part in found for document in part.documents()]
    assert chunks == [[("aaaabbbb", (4, 8))], [("cccc", (4,))], [("dd", (2,))]]


def test_two_documents_make_three_parts_of_which_one_is_cut(tmp_path):
    corpus = open_documents(tmp_path, "line", "a" * 100 + "\n" + "b" * 100 + "\n")
    assert [read(part) for part in split_corpus(corpus, 0.05, 0.05)] == [
        ["a" * 95],
        ["a" * 5],
        ["b" * 100],
    ]


@pytest.mark.parametrize("long", [1 << 20, 50])
def test_the_nearest_end_is_found_in_documents_of_any_length(tmp_path, monkeypatch, long):
    monkeypatch.setattr(split_file, "LONG_CHARACTERS", long)
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 64)
    lengths = {"a": 300, "b": 20, "c": 70, "d": 5, "e": 400, "f": 5}
    text = "\n".join(letter * length for letter, length in lengths.items())
    corpus = open_documents(tmp_path, "line", text)
    # 800 characters: the half is at 400; documents end at 300, 320, 390, 395, 795 and 800.
    train, valid, _ = split_corpus(corpus, 0.5, 0.0)
    assert (train.count_characters(), valid.count_characters()) == (395, 405)
    # 0.1 begins at 720; the test text must not be empty.
    train, valid, _ = split_corpus(corpus, 0.1, 0.0)
    assert train.count_characters() == 795


@given(
    words=st.lists(st.text("ab .", min_size=1, max_size=12), min_size=2, max_size=30),
    documents=st.sampled_from(["line", "paragraph"]),
    fractions=st.tuples(st.floats(0.01, 0.3), st.floats(0.01, 0.3)),
)
@settings(max_examples=150, suppress_health_check=EVERY_EXAMPLE_REWRITES_FILES)
def test_with_three_documents_or_more_no_part_is_empty_and_none_is_cut(
    tmp_path, words, documents, fractions
):
    kept = [word for word in words if word.strip()]
    assume(len(kept) >= 3)
    corpus = open_documents(tmp_path, documents, "\n\n".join(words))
    parts = split_corpus(corpus, *fractions)
    assert sum(len(part.texts) for part in parts) == 3
    found = [document for part in parts for document in list_documents(part)]
    assert sum(map(len, found)) == sum(map(len, kept))
    assert len(found) == len(kept)


@given(st.text("ab\n .", min_size=2000, max_size=3000))
@settings(max_examples=50, suppress_health_check=EVERY_EXAMPLE_REWRITES_FILES)
def test_of_2000_characters_each_part_has_half_of_its_share(tmp_path, text):
    corpus = open_texts(tmp_path, text)
    sizes = [part.count_characters() for part in split_corpus(corpus, 0.05, 0.05)]
    assert sum(sizes) == len(text)
    assert min(sizes[1:]) >= len(text) * 0.05 / 2 - 1


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
@settings(max_examples=150, suppress_health_check=EVERY_EXAMPLE_REWRITES_FILES)
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
