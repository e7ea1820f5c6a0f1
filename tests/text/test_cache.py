"""The cache where it cannot be written to: what is in it is used, and nothing is required of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_timecycle.errors import RunError
from llm_timecycle.text import cache
from llm_timecycle.text.cache import can_write, open_cache


def test_a_cache_that_can_be_written_to_is_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_TIMECYCLE_CACHE", str(tmp_path / "new" / "cache"))
    with open_cache() as place:
        assert place == tmp_path / "new" / "cache"
        assert can_write(place)


def test_another_place_has_the_same_entries_and_can_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions do not bind the superuser, so the answer to the question is given here."""
    (tmp_path / "tokens" / "key").mkdir(parents=True)
    (tmp_path / "tokens" / "key" / "ids.bin").write_bytes(b"123")
    (tmp_path / "docs.txt").write_text("docs")
    monkeypatch.setenv("LLM_TIMECYCLE_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "can_write", lambda directory: directory != tmp_path)
    with open_cache() as place:
        assert place != tmp_path
        assert (place / "tokens" / "key" / "ids.bin").read_bytes() == b"123"
        assert (place / "docs.txt").read_text() == "docs"
        (place / "tokens" / "other").mkdir()
    assert not place.exists()
    assert [path.name for path in (tmp_path / "tokens").iterdir()] == ["key"]


def test_no_place_at_all_is_an_error_that_names_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LLM_TIMECYCLE_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    expected = pytest.raises(RunError, match=r"neither the cache directory .*LLM_TIMECYCLE_CACHE")
    with expected, open_cache():
        pass
