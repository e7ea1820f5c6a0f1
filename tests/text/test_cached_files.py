"""Files of the cache: what is read is what was written, and all else is made again."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_timecycle.text.cached_files import keep_newest, read_cached, write_cached
from llm_timecycle.text.text_file import TextFile

CONTENT = b'{"a": 1}\n'


def read(directory: Path, key: str = "key") -> bytes | None:
    found = read_cached(directory, key, ".json", 100)
    return None if found is None else found.content


def test_what_is_written_is_read_under_its_key_only(tmp_path: Path) -> None:
    assert read(tmp_path / "new") is None
    written = write_cached(tmp_path / "new", "key", ".json", CONTENT)
    assert read_cached(tmp_path / "new", "key", ".json", 100) == written
    assert written.path.read_bytes() == CONTENT
    assert read(tmp_path / "new", "ke") is None
    assert read_cached(tmp_path / "new", "key", ".txt", 100) is None


@pytest.mark.parametrize("place", range(len(CONTENT)))
def test_a_changed_byte_is_found_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: int
) -> None:
    path = write_cached(tmp_path, "key", ".json", CONTENT).path
    changed = bytearray(CONTENT)
    changed[place] ^= 1
    path.write_bytes(changed)
    assert read(tmp_path) is None
    assert [*tmp_path.iterdir()] == []
    assert caplog.messages == [f"{path} is damaged (its content has changed): it is made again"]
    write_cached(tmp_path, "key", ".json", CONTENT)
    assert read(tmp_path) == CONTENT


REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a directory": lambda path: (path / "below").mkdir(parents=True),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "too large": lambda path: path.write_bytes(bytes(101)),
    "a loop": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("replace", REPLACEMENTS.values(), ids=REPLACEMENTS)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_what_is_no_file_of_the_cache_is_deleted_and_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, replace: Callable[[Path], object]
) -> None:
    path = write_cached(tmp_path, "key", ".json", CONTENT).path
    path.unlink()
    replace(path)
    assert read(tmp_path) is None
    assert [*tmp_path.iterdir()] == []
    assert "is damaged" in caplog.text
    assert Path("/dev/zero").exists()


def test_a_sound_file_is_found_beside_a_damaged_one(tmp_path: Path) -> None:
    write_cached(tmp_path, "key", ".json", CONTENT)
    for digit in "0f":
        (tmp_path / f"key-{digit * 32}.json").write_bytes(b"other")
    assert read(tmp_path) == CONTENT


def test_a_cache_that_cannot_be_written_to_is_read_and_said_to_be_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Permissions do not bind the superuser, so the system's refusals are made here."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write_cached(tmp_path, "key", ".json", CONTENT).path
    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert read(tmp_path) == CONTENT
    path.write_bytes(b"other")
    assert read(tmp_path) is None
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("use", [write_cached, read_cached])
def test_a_text_can_be_read_while_another_process_finds_or_makes_it(
    tmp_path: Path, use: Callable[[Path, str, str, object], object]
) -> None:
    path = write_cached(tmp_path, "key", ".txt", b"a text").path
    os.utime(path, (0, 0))
    text = TextFile(path)
    assert use(tmp_path, "key", ".txt", 100 if use is read_cached else b"a text") is not None
    assert "".join(text.read()) == "a text"
    assert "".join(text.read()) == "a text"


@pytest.mark.parametrize("use", [write_cached, read_cached])
def test_a_file_that_is_found_or_made_again_counts_as_just_used(
    tmp_path: Path, use: Callable[[Path, str, str, object], object]
) -> None:
    path = write_cached(tmp_path, "key", ".json", CONTENT).path
    os.utime(path, (0, 0))
    (tmp_path / "other.json").touch()
    os.utime(tmp_path / "other.json", (time.time() - 60,) * 2)
    assert use(tmp_path, "key", ".json", 100 if use is read_cached else CONTENT) is not None
    keep_newest(tmp_path, 1)
    assert [*tmp_path.iterdir()] == [path]


def test_files_are_kept_as_directories_are(tmp_path: Path) -> None:
    for name, age_s in [("a.json", 300), ("b.json", 200)]:
        (tmp_path / name).write_text("{}")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    keep_newest(tmp_path, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.json"]


def test_links_are_deleted_and_not_what_they_lead_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    (tmp_path / "cache").mkdir()
    targets = {"whole": tmp_path / "other", "gone": tmp_path / "gone", "loop": Path("loop")}
    for name, target in targets.items():
        (tmp_path / "cache" / name).symlink_to(target)
    keep_newest(tmp_path / "cache", 0)
    assert [*(tmp_path / "cache").iterdir()] == []
    assert [*(tmp_path / "other").iterdir()] == [tmp_path / "other" / "file"]
