"""One file as a stream: line breaks, the byte order mark, block borders, and every refusal."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_timecycle.errors import DataError
from llm_timecycle.text import text_file
from llm_timecycle.text.text_file import TextFile

EVERY_EXAMPLE_REWRITES_THE_FILE = [HealthCheck.function_scoped_fixture]


def write(directory: Path, content: bytes, name: str = "a.txt") -> Path:
    path = directory / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def read(path: Path, start: int = 0, stop: int | None = None) -> str:
    return "".join(TextFile(path).read(start, stop))


@pytest.fixture(params=[1, 2, 3, 5])
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few bytes, so that everything falls across a border."""
    monkeypatch.setattr(text_file, "BLOCK_BYTES", request.param)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "A.GZ"])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
        (b"\r\r\n\n\r", "\n\n\n\n"),
        (b"\xef\xbb\xbfone", "one"),
        (b"\xef\xbb\xbf\xef\xbb\xbf", "\ufeff"),  # the mark is dropped once, at the start
        (b"a\xef\xbb\xbfb", "a\ufeffb"),
        (b"a\x0b\x0c\x00\xc2\x85\xe2\x80\xa8b", "a\v\f\0\x85\u2028b"),  # no line breaks, kept
        ("é钟🕰\r\n".encode(), "é钟🕰\n"),
    ],
)
@pytest.mark.usefixtures("small_blocks")
def test_text_is_read_by_the_rules_whatever_the_blocks(tmp_path, name, content, text):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name != "a.txt" else content)
    assert read(path) == text


@given(
    text=st.text(alphabet="ab\r\n é钟🕰\ufeff", max_size=40),
    block_bytes=st.integers(1, 12),
    cuts=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
@settings(max_examples=200, deadline=None, suppress_health_check=EVERY_EXAMPLE_REWRITES_THE_FILE)
def test_any_range_of_any_text_equals_the_slice(tmp_path, text, block_bytes, cuts):
    path = write(tmp_path, text.encode())
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    start, stop = min(cuts), max(cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "BLOCK_BYTES", block_bytes)
        assert read(path) == expected
        assert read(path, start, stop) == expected[start:stop]
        assert read(path, start) == expected[start:]
        measure = TextFile(path).measure()
    assert measure.characters == len(expected)
    assert measure.sha256 == hashlib.sha256(expected.encode()).hexdigest()


@pytest.mark.parametrize("name", ["a.txt", "a.gz"])
def test_landmarks_lie_between_characters(tmp_path, monkeypatch, name):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 4)
    file = TextFile(write(tmp_path, "钟钟钟钟钟abcd".encode(), name))
    # 3 + 4 bytes give 2 characters, and 1 byte is held back; then blocks end at bytes 11, 15, 19.
    offsets = [landmark.offset for landmark in file.measure().landmarks]
    assert offsets == [0, 6, 9, 15, 19]
    assert "".join(file.read(4, 6)) == "钟a"


def test_measuring_reports_every_byte_once_and_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 4)
    file = TextFile(write(tmp_path, b"\xef\xbb\xbf" + "钟 and clock\r\n".encode()))
    reported: list[int] = []
    measure = file.measure(reported.append)
    assert sum(reported) == 3 + 3 + 10 + 2
    assert file.measure(reported.append) is measure
    assert sum(reported) == 18


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize(
    ("content", "offset", "byte"),
    [
        (b"caf\xe9 au lait", 3, "0xe9"),
        (b"\xef\xbb\xbfab\xff", 5, "0xff"),
        ("钟".encode() + b"\xe9\x92", 3, "0xe9"),  # ends within a character
        (b"a\r\nb\r\n\x80", 6, "0x80"),
        (b"abc\xed\xa0\x80", 3, "0xed"),  # half a surrogate pair
    ],
)
@pytest.mark.usefixtures("small_blocks")
def test_what_is_not_utf8_is_refused_with_its_offset(tmp_path, name, content, offset, byte):
    file = TextFile(write(tmp_path, content, name))
    with pytest.raises(DataError, match=rf"is not UTF-8 text: .* offset {offset} \({byte}\)"):
        list(file.read())
    with pytest.raises(DataError, match=r"convert it: .*iconv -f GB18030"):
        file.measure()


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ("river".encode("utf-16"), "looks like UTF-16; convert it: iconv -f UTF-16"),
        (b"\xfe\xff\x00r", "looks like UTF-16"),
        (gzip.compress(b"river", mtime=0), r"compressed with gzip: rename it"),
    ],
)
def test_the_message_names_an_encoding_that_it_recognizes(tmp_path, content, advice):
    with pytest.raises(DataError, match=advice):
        read(write(tmp_path, content))


@pytest.mark.skipif(shutil.which("iconv") is None, reason="needs iconv")
@pytest.mark.parametrize("name", ["my text.txt", "my text.txt.gz"])
def test_the_proposed_command_converts_the_file_when_pasted(tmp_path, name):
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, "钟".encode("gb18030"), name))
    found = re.search(r"convert it: (.*) \(with its encoding", str(caught.value))
    assert found is not None
    subprocess.run(found[1], shell=True, check=True)
    (copy,) = tmp_path.glob("*.utf-8.txt")
    assert read(copy) == "钟"


def test_a_gz_file_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(os.urandom(5000).hex().encode())[:-20])
    with pytest.raises(DataError, match=r"a\.gz is damaged.*Download or compress it again"):
        read(path)


def test_a_gz_file_with_a_wrong_checksum_is_refused(tmp_path):
    content = bytearray(gzip.compress(b"river " * 100))
    content[-8] ^= 1
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz is damaged"):
        read(path)


def test_a_gz_file_with_a_wrong_content_is_refused(tmp_path):
    content = bytearray(gzip.compress(os.urandom(2000)))
    content[10] = 0xFF  # a block type that does not exist
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz is damaged"):
        TextFile(path)


def test_a_text_that_is_called_gz_is_refused_when_opened(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(b"plain text")
    with pytest.raises(DataError, match=r"not a gzip file as its name says"):
        TextFile(path)


def test_gz_files_that_were_joined_are_read_through(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one ") + gzip.compress(b"two"))
    assert read(path) == "one two"


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["a.txt", "a.gz"])
def test_a_file_without_a_character_is_empty(tmp_path, name, content):
    assert TextFile(write(tmp_path, content, name)).is_empty
    assert not TextFile(write(tmp_path, content + b"\n", name)).is_empty


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*gone\.txt"):
        TextFile(tmp_path / "gone.txt")


def test_a_pipe_is_refused_and_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"pipe is not a regular file; expected a text file"):
        TextFile(tmp_path / "pipe")


def test_a_file_that_must_not_be_read_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path, b"secret")

    def refuse(*_: object) -> None:  # the tests may run as root, whom no permission stops
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.txt cannot be read: .* chmod u\+r"):
        TextFile(path)


def test_a_disk_that_fails_is_reported(tmp_path, monkeypatch):
    path = write(tmp_path, b"text")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(DataError, match=r"a\.txt cannot be read: Input/output error"):
        TextFile(path)


def test_a_file_that_grew_between_two_readings_is_refused(tmp_path):
    path = write(tmp_path, b"river")
    file = TextFile(path)
    path.write_bytes(b"river and sea")
    with pytest.raises(DataError, match=r"a\.txt changed while it was being read"):
        list(file.read())


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path):
    path = write(tmp_path, b"river")
    pieces = TextFile(path).read()
    assert next(pieces) == "river"
    with path.open("ab") as file:
        file.write(b" and sea")
    with pytest.raises(DataError, match=r"changed while it was being read; run the command again"):
        list(pieces)


@pytest.mark.parametrize("line", ["time runs on, and the river with it\n", "钟", "🕰 "])
def test_a_large_file_is_never_held_whole(tmp_path, line):
    size_bytes = 30_000_000
    path = write(tmp_path, line.encode() * (size_bytes // len(line.encode())))
    file = TextFile(path)
    tracemalloc.start()
    try:
        file.measure()
        length = sum(map(len, file.read()))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length == size_bytes // len(line.encode()) * len(line)
    assert peak_bytes < 10_000_000
