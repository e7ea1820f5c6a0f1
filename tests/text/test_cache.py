"""The cache where it cannot be written to: what is in it is used, and nothing is required of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import RunError
from llm_timecycle.text import cache
from llm_timecycle.text.cache import can_write, open_cache
from llm_timecycle.text.prepare import prepare_text


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


def test_a_damaged_entry_is_made_again_in_the_other_place_and_stays_in_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    text, kept = tmp_path / "my.txt", tmp_path / "cache"
    text.write_text("line of the text\n" * 100)
    settings = Settings.model_validate(
        {"data": {"train": str(text)}, "tokenizer": {"level": "char"}}
    )
    before = prepare_text(settings, tmp_path, kept, False)
    for file in [*kept.glob("*/*.json"), *kept.glob("tokens/*/ids.bin")]:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    contents = {file: file.read_bytes() for file in kept.rglob("*") if file.is_file()}
    monkeypatch.setenv("LLM_TIMECYCLE_CACHE", str(kept))
    monkeypatch.setattr(cache, "can_write", lambda directory: directory != kept)
    with open_cache() as place:
        after = prepare_text(settings, tmp_path, place, False)
    assert after.train.ids.tolist() == before.train.ids.tolist()
    assert after.tokenizer.to_json() == before.tokenizer.to_json()
    # Of the tokenizer, its spelling is not even looked at; then the parts of the text.
    assert [message.partition(" is ")[2][:7] for message in caplog.messages] == ["damaged"] * 4
    assert contents == {file: file.read_bytes() for file in kept.rglob("*") if file.is_file()}


def test_no_place_at_all_is_an_error_that_names_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LLM_TIMECYCLE_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    expected = pytest.raises(RunError, match=r"neither the cache directory .*LLM_TIMECYCLE_CACHE")
    with expected, open_cache():
        pass
