"""Reading what may be anything; writing what is whole or not there."""

from __future__ import annotations

import hashlib
import mmap
import os
from pathlib import Path

import pytest

from llm_timecycle import files
from llm_timecycle.files import (
    UnfitFileError,
    is_replaceable,
    open_regular,
    read_or_map,
    read_regular,
    write_durably,
)

READERS = {
    "open": open_regular,
    "read": lambda path: read_regular(path, 100),
    "map": read_or_map,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_a_pipe_a_device_and_a_directory_are_refused_without_waiting(
    tmp_path: Path, read: object
) -> None:
    assert callable(read)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for unfit in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero")):
        with pytest.raises(UnfitFileError, match="it is not a regular file"):
            read(unfit)
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


def test_a_file_is_read_up_to_its_limit_and_refused_beyond(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    (tmp_path / "link").symlink_to(file)
    assert read_regular(tmp_path / "link", 5) == b"12345"
    with pytest.raises(UnfitFileError, match="it has 5 bytes, and expected are at most 4"):
        read_regular(file, 4)


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="needs Linux")
def test_a_file_of_the_system_that_says_it_is_empty_is_empty() -> None:
    """It calls itself regular, and its content would fill any memory."""
    assert read_regular(Path("/proc/self/pagemap"), 1 << 20) == b""


def test_a_small_file_is_copied_and_a_large_one_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "READ_AT_MOST", 4)
    file = tmp_path / "file"
    file.write_bytes(b"1234")
    assert read_or_map(file) == b"1234"
    file.write_bytes(b"12345")
    mapped = read_or_map(file)
    assert isinstance(mapped, mmap.mmap)
    assert mapped[:] == b"12345"


def test_a_file_a_link_to_one_and_a_link_to_nothing_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    for link, target in {"link": "file", "dangling": "gone", "again": "link"}.items():
        (tmp_path / link).symlink_to(target)
    for name in ("file", "link", "again", "dangling", "missing", "no/directory"):
        assert is_replaceable(tmp_path / name), name
    assert not is_replaceable(tmp_path)


@pytest.mark.skipif(not Path("/dev/stdout").is_symlink(), reason="needs Linux")
def test_a_device_and_a_link_of_the_system_may_not_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    for path in ("/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", tmp_path / "link"):
        assert not is_replaceable(Path(path)), path


def test_a_link_at_a_temporary_name_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", bytes)
    other = tmp_path / "other"
    other.write_bytes(b"kept")
    (tmp_path / ".file.0000000000.tmp").symlink_to(other)
    with pytest.raises(FileExistsError):
        write_durably(tmp_path / "file", b"new")
    assert other.read_bytes() == b"kept"
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("keep_same", [False, True])
def test_two_processes_of_the_same_number_write_the_same_file_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_same: bool
) -> None:
    """As in containers, in each of which the process has the number 1."""
    file, flush, inodes = tmp_path / "file", os.fsync, []

    def let_the_other_one_write(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", flush)
        write_durably(file, b"new", keep_same=keep_same)
        inodes.append(file.stat().st_ino)

    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(os, "fsync", let_the_other_one_write)
    sha256 = write_durably(file, b"new", keep_same=keep_same)
    assert sha256 == hashlib.sha256(b"new").hexdigest()
    assert file.read_bytes() == b"new"
    assert (file.stat().st_ino in inodes) == keep_same
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    write_durably(file, b"newer", keep_same=keep_same)
    assert file.read_bytes() == b"newer"
