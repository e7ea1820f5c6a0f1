"""A directory appears complete under its name, or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from llm_timecycle import staging
from llm_timecycle.staging import flush_tree, stage_directory


def list_names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_it_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    with stage_directory(tmp_path / "a") as directory:
        (directory / "file").write_text("new")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a/file").read_text() == "new"
    assert list_names(tmp_path) == ["a"]
    other = tmp_path / "made by hand"
    other.mkdir()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_text("old")

    def fail() -> None:
        with stage_directory(tmp_path / "a", replaces=True) as directory:
            (directory / "file").write_text("new")
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "a/file").read_text() == "old"
    assert list_names(tmp_path) == ["a"]


def test_a_directory_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").write_text("old")
    with stage_directory(tmp_path / "a", replaces=True) as directory:
        (directory / "new").write_text("new")
    assert list_names(tmp_path / "a") == ["new"]
    assert list_names(tmp_path) == ["a"]


def test_what_was_there_comes_back_where_the_new_one_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").write_text("old")
    rename = Path.rename

    def fail_once(path: Path, target: Path) -> Path:
        if target == tmp_path / "a" and not path.name.endswith(".old"):
            raise PermissionError
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(PermissionError), stage_directory(tmp_path / "a", replaces=True) as new:
        (new / "new").write_text("new")
    assert list_names(tmp_path / "a") == ["old"]
    assert list_names(tmp_path) == ["a"]


def test_what_a_killed_process_left_is_deleted_after_a_day(tmp_path: Path) -> None:
    for name, age_s in ((".a.making-1", staging.STALE_AFTER_S + 10), (".a.making-2", 10)):
        (tmp_path / name).mkdir()
        now = (tmp_path / name).stat().st_mtime
        os.utime(tmp_path / name, (now - age_s, now - age_s))
    with stage_directory(tmp_path / "a"):
        pass
    assert list_names(tmp_path) == [".a.making-2", "a"]


def test_every_file_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/one").write_text("1")
    (tmp_path / "a/b/two").write_text("2")
    flushed = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    flush_tree(tmp_path / "a")
    paths = ("a/b/two", "a/b", "a/one", "a")
    assert sorted(flushed) == sorted((tmp_path / path).stat().st_ino for path in paths)
