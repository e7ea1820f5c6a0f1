"""Lines and paragraphs as documents: what separates them, long ones, cuts and hashes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_timecycle.errors import DataError
from llm_timecycle.text import text_file
from llm_timecycle.text.chunks import Chunk
from llm_timecycle.text.files import split_file
from llm_timecycle.text.files.split_file import SplitFile
from llm_timecycle.text.text_file import TextFile

EVERY_EXAMPLE_REWRITES_THE_FILE = [HealthCheck.function_scoped_fixture]


def open_file(directory: Path, text: str, documents: str) -> SplitFile:
    path = directory / "a.txt"
    path.write_text(text, encoding="utf-8", newline="")
    return SplitFile(TextFile(path), documents)


def list_documents(chunks: list[Chunk]) -> list[str]:
    """The documents; the last one is "" if the text ends with the end of a document."""
    found = [""]
    for text, ends in chunks:
        assert text
        assert list(ends) == sorted(set(ends) - {0})
        start = 0
        for end in (*ends, None):
            found[-1] += text[start:end]
            if end is not None:
                found.append("")
                start = end
    return found


@pytest.mark.parametrize("block_bytes", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize(
    ("documents", "text", "found"),
    [
        ("line", "one\ntwo\n\n \t\nthree", ["one", "two", "three"]),
        ("line", "\r\none\r\n  two \r\n", ["one", "  two "]),
        ("line", "a\u2028b\x0b\x0cc\n", ["a\u2028b\x0b\x0cc"]),  # line breaks to Python only
        ("line", "\n \n", []),
        ("paragraph", "one\ntwo\n\nthree\n", ["one\ntwo", "three"]),
        (
            "paragraph",
            "\n  \n\n  one\n  two\n \t \n\n\u3000three \n\n",
            ["  one\n  two", "\u3000three "],
        ),
        ("paragraph", "\none\n", ["one"]),
        ("paragraph", "one\r\rtwo\r\r\rthree", ["one", "two", "three"]),
        ("paragraph", " \n \n", []),
    ],
)
def test_documents_worked_by_hand(tmp_path, monkeypatch, documents, text, found, block_bytes):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", block_bytes)
    file = open_file(tmp_path, text, documents)
    assert list_documents([*file.chunks()]) == [*found, ""]
    measure = file.measure()
    assert measure.characters == sum(map(len, found))
    assert measure.documents == len(found)


@given(
    text=st.text(alphabet="ab \n\n钟", max_size=60),
    documents=st.sampled_from(["line", "paragraph"]),
    block_bytes=st.integers(1, 12),
    long=st.sampled_from([1, 5, 1 << 20]),
    cuts=st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
@settings(max_examples=300, suppress_health_check=EVERY_EXAMPLE_REWRITES_THE_FILE)
def test_any_range_of_any_documents_is_that_of_the_whole(
    tmp_path, text, documents, block_bytes, long, cuts
):
    whole = list_documents([*open_file(tmp_path, text, documents).chunks()])
    joined = "".join(whole)
    start, stop = min(cuts), max(cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "BLOCK_BYTES", block_bytes)
        patch.setattr(split_file, "LONG_CHARACTERS", long)
        file = open_file(tmp_path, text, documents)
        assert list_documents([*file.chunks()]) == whole
        found = list_documents([*file.chunks(start, stop)])
    assert "".join(found) == joined[start:stop]
    ends, position = set(), 0
    for document in whole[:-1]:
        position += len(document)
        ends.add(position)
    position, ends_found = start, set()
    for document in found[:-1]:
        position += len(document)
        ends_found.add(position)
    assert ends_found == {end for end in ends if start < end <= min(stop, len(joined))}


@given(text=st.text(alphabet="ab \n", max_size=60), position=st.integers(0, 60))
@settings(max_examples=200, suppress_health_check=EVERY_EXAMPLE_REWRITES_THE_FILE)
def test_the_ends_beside_any_position_are_found(tmp_path, text, position):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "BLOCK_BYTES", 5)
        file = open_file(tmp_path, text, "line")
        ends = [0]
        for document in list_documents([*file.chunks()])[:-1]:
            ends.append(ends[-1] + len(document))
        position = min(position, max(ends[-1] - 1, 0))
        below, above = file.find_ends(position)
    assert below == max(end for end in ends if end <= position)
    assert above == min((end for end in ends if end > position), default=0)


def test_the_hash_follows_the_text_and_the_way_of_splitting(tmp_path):
    known = open_file(tmp_path, "one\ntwo\n", "line").measure().sha256
    assert open_file(tmp_path, "one\r\ntwo\r\n", "line").measure().sha256 == known
    others = [
        open_file(tmp_path, "one\ntwo\n", "paragraph").measure().sha256,
        open_file(tmp_path, "one\ntw\n", "line").measure().sha256,
        open_file(tmp_path, "on\netwo\n", "line").measure().sha256,
        TextFile(tmp_path / "a.txt").measure().sha256,
    ]
    assert len({known, *others}) == 5


@pytest.mark.parametrize(
    ("documents", "text", "count"),
    [
        ("line", "time runs on, and the river with it, to the sea and further\n", 40_000),
        ("paragraph", "time runs on, and the river with it,\nto the sea\n\n", 40_000),
        ("line", "time runs on, and the river with it, to the sea and further ", 1),
        ("paragraph", "time runs on, and the river with it, to the sea and further\n", 1),
    ],
)
def test_a_large_file_is_never_held_whole(tmp_path, monkeypatch, documents, text, count):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", text_file.BLOCK_BYTES // 10)
    file = open_file(tmp_path, text * (400_000 if count == 1 else count), documents)
    tracemalloc.start()
    try:
        file.measure()
        found = sum(len(chunk.ends) for chunk in file.chunks())
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == file.measure().documents == count
    assert peak_bytes < file.size_bytes / 1.5


@pytest.mark.parametrize(
    ("documents", "before", "blank"),
    [("line", "", " "), ("line", "a", "\u3000"), ("paragraph", "a", "\n"), ("paragraph", "", " ")],
)
def test_blanks_without_end_are_refused(tmp_path, monkeypatch, documents, before, blank):
    """None of them can be passed on: what follows says whether they are in a document."""
    monkeypatch.setattr(split_file, "BLANKS_AT_MOST", 1000)
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 300)
    file = open_file(tmp_path, before + blank * 900 + "b\n" + blank * 900 + "c", documents)
    assert file.measure().characters > 1
    file = open_file(tmp_path, before + blank * 2000, documents)
    with pytest.raises(DataError, match=r"a\.txt has more than 1,000 blank characters in a row"):
        file.measure()
