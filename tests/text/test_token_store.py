"""The token store: whole or not there, and nobody's harm."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llm_timecycle.text.token_store import TokenStream, build_store, keep_newest, open_store
from llm_timecycle.text.token_store_write import Counts

FACTS = {"corpus_sha256": "abc"}
Piece = tuple[np.ndarray, Counts]
PIECES: list[Piece] = [
    (np.array([2, 3, 0], np.uint16), Counts(3, 2, 9, 10, 1)),
    (np.array([700], np.uint16), Counts(1, 1, 4, 4, 0)),
]


def build(path: Path, pieces: list[Piece] | Iterator[Piece] = PIECES) -> TokenStream:
    """A store at `path`, opened."""
    build_store(path, pieces, np.dtype(np.uint16), FACTS)
    stream = open_store(path)
    assert stream is not None
    return stream


def test_a_store_holds_what_was_put_in(tmp_path):
    stream = build(tmp_path / "cache" / "store")
    assert isinstance(stream.ids, np.memmap)
    assert stream.ids.dtype == np.uint16
    assert stream.ids.tolist() == [2, 3, 0, 700]
    assert (stream.tokens, stream.words, stream.characters, stream.bytes) == (4, 3, 13, 14)
    assert (stream.unknown, stream.corpus_sha256) == (1, "abc")
    manifest = json.loads((tmp_path / "cache" / "store" / "manifest.json").read_text())
    assert manifest["size_bytes"] == 8
    assert manifest["dtype"] == "uint16"
    assert manifest["format_version"] == 1


def test_a_store_cannot_be_written_to(tmp_path):
    stream = build(tmp_path / "store")
    with pytest.raises(ValueError, match="read-only"):
        stream.ids[0] = 1


def test_a_store_can_be_empty(tmp_path):
    stream = build(tmp_path / "store", [])
    assert stream.tokens == 0
    assert stream.ids.shape == (0,)


def test_there_is_no_store_before_it_is_whole(tmp_path):
    def pieces() -> Iterator[Piece]:
        yield PIECES[0]
        assert open_store(tmp_path / "store") is None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "store", pieces())
    assert list(tmp_path.iterdir()) == []


def test_of_two_that_build_a_store_the_first_to_finish_wins(tmp_path):
    def pieces() -> Iterator[Piece]:
        yield PIECES[0]
        first = build(tmp_path / "store")
        identities.append((tmp_path / "store" / "ids.bin").stat().st_ino)
        yield PIECES[1]
        assert first.ids.tolist() == [2, 3, 0, 700]

    identities: list[int] = []
    assert build(tmp_path / "store", pieces()).ids.tolist() == [2, 3, 0, 700]
    assert (tmp_path / "store" / "ids.bin").stat().st_ino == identities[0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "ids.bin").write_bytes(b"1234567"),
        lambda path: (path / "ids.bin").unlink(),
        lambda path: (path / "manifest.json").write_text("{"),
        lambda path: (path / "manifest.json").write_text("[]"),
        lambda path: (path / "manifest.json").write_text("{}"),
        lambda path: (path / "manifest.json").unlink(),
        lambda path: (path / "manifest.json").write_text(
            (path / "manifest.json")
            .read_text()
            .replace('"format_version": 1', '"format_version": 2')
        ),
    ],
)
def test_a_damaged_store_is_not_used_and_is_built_anew(tmp_path, damage):
    build(tmp_path / "store")
    damage(tmp_path / "store")
    assert open_store(tmp_path / "store") is None
    assert build(tmp_path / "store").ids.tolist() == [2, 3, 0, 700]
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        build(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_the_stores_used_last_are_kept(tmp_path):
    now_s = time.time()
    for name, age_s in [("a", 300), ("b", 200), ("c", 100), (".new", 400), (".old", 90_000)]:
        build(tmp_path / name)
        os.utime(tmp_path / name, (now_s - age_s, now_s - age_s))
    stream = open_store(tmp_path / "b")
    assert stream is not None
    gone = open_store(tmp_path / "a")
    assert gone is not None
    os.utime(tmp_path / "a", (now_s - 300, now_s - 300))
    keep_newest(tmp_path, 1)
    # "b" was opened just now; what is hidden is at work, unless it is older than a day.
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".new", "b"]
    assert gone.ids.tolist() == [2, 3, 0, 700]


def test_files_are_kept_as_directories_are(tmp_path):
    for name, age_s in [("a.json", 300), ("b.json", 200)]:
        (tmp_path / name).write_text("{}")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    keep_newest(tmp_path, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.json"]
