"""One file as a stream: line breaks, the byte order mark, block borders, and every refusal."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
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
        (b"\xef\xbb\xbf\xef\xbb\xbf\r", "\n"),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", "a\nb"),  # two files, joined
        (b"a\x0b\x0c\xc2\x85\xe2\x80\xa8b", "a\v\f\x85\u2028b"),  # no line breaks, kept
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
@settings(max_examples=200, suppress_health_check=EVERY_EXAMPLE_REWRITES_THE_FILE)
def test_any_range_of_any_text_equals_the_slice(tmp_path, text, block_bytes, cuts):
    path = write(tmp_path, text.encode())
    expected = text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")
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
    file = TextFile(write(tmp_path, "钟钟钟钟钟a\r\nb".encode(), name))
    # Blocks end at bytes 4, 8, 12, 16 and 19; a character has 3 bytes, and the line feed that
    # belongs to the return at byte 17 is in the last block.
    offsets = [landmark.offset for landmark in file.measure().landmarks]
    assert offsets == [0, 3, 6, 12, 16, 19]
    assert "".join(file.read(4, 7)) == "钟a\n"


def test_no_landmark_lies_within_a_line_break(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 2)
    file = TextFile(write(tmp_path, b"a\r\nb"))
    assert [landmark.offset for landmark in file.measure().landmarks] == [0, 4]


def test_measuring_reports_every_byte_once_and_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 4)
    file = TextFile(write(tmp_path, b"\xef\xbb\xbf" + "钟 and clock\r\n".encode()))
    reported: list[int] = []
    measure = file.measure(reported.append)
    assert sum(reported) == 3 + 3 + 10 + 2
    assert file.measure(reported.append) is measure
    assert sum(reported) == 18


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_what_is_no_file_is_refused_at_once_with_what_to_do(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
    for path in (*(tmp_path / name for name in ("pipe", "link", "socket")), Path("/dev/zero")):
        with pytest.raises(DataError, match=r"is not a regular file; .* to a file, and name that"):
            TextFile(path)
    with pytest.raises(DataError, match="is a directory; expected a text file"):
        TextFile(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="needs Linux")
def test_a_file_of_the_system_that_says_it_is_empty_is_not_read():
    """It calls itself regular and of no size; reading it would never end."""
    file = TextFile(Path("/proc/self/pagemap"))
    assert file.is_empty
    assert [*file.read()] == []


def test_a_file_that_must_not_be_read_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path, b"secret")

    def refuse(*_: object) -> None:  # the tests may run as root, whom no permission stops
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(text_file, "open_regular", refuse)
    with pytest.raises(DataError, match=r"a\.txt cannot be read: .* chmod u\+r"):
        TextFile(path)


def test_a_disk_that_fails_is_reported(tmp_path, monkeypatch):
    path = write(tmp_path, b"text")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(text_file, "open_regular", fail)
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


def test_a_file_that_grows_faster_than_it_is_read_is_not_read_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 5)
    path = write(tmp_path, b"river")

    def read_and_write() -> None:
        for _ in TextFile(path).read():
            with path.open("ab") as file:
                file.write(b"river")

    with pytest.raises(DataError, match="changed while it was being read"):
        read_and_write()


@pytest.mark.parametrize("name", ["a.txt", "a.gz"])
def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_refused(tmp_path, name):
    path = write(tmp_path, b"river", name)
    file, status = TextFile(path), path.stat()
    other = write(tmp_path, b"ocean", f"b{path.suffix}")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert other.stat().st_size == status.st_size
    other.rename(path)
    with pytest.raises(DataError, match="changed while it was being read"):
        list(file.read())


def test_a_text_that_is_not_what_it_must_be_is_refused(tmp_path):
    path = write(tmp_path, b"river")
    right, wrong = (hashlib.sha256(text).hexdigest() for text in (b"river", b"ocean"))
    assert TextFile(path, sha256=right).measure().characters == 5
    with pytest.raises(DataError, match="changed while it was being read"):
        TextFile(path, sha256=wrong).measure()


def test_bytes_that_never_become_a_character_are_not_gathered(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "PENDING_BYTES_AT_MOST", 2000)
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 500)
    path = write(tmp_path, b"river +" + b"A" * 10_000)
    with pytest.raises(DataError, match=r"not UTF-7 text: from the byte at offset 6 on, 2,\d+"):
        TextFile(path, "utf-7").measure()


def test_half_a_character_is_no_text(tmp_path):
    path = write(tmp_path, b"river +2AA- time")
    with pytest.raises(DataError, match=r"not UTF-7 text: .* spells half of a character, U\+D800"):
        TextFile(path, "utf-7").measure()


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
