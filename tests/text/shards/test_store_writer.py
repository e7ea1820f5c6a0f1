"""A store written shard by shard: killed anywhere, it is gone on with and ends the same."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.text import text_file
from llm_timecycle.text.corpus import Corpus, open_corpus
from llm_timecycle.text.encoding import encode_documents
from llm_timecycle.text.shards.store_writer import PROGRESS, build_in_shards, build_store
from llm_timecycle.text.token_store import MANIFEST, Origin, Piece, open_store
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

LEVELS = [TokenizerSettings(level="word"), TokenizerSettings(level="byte", vocab_size=258)]
SHARD = 400


class Killed(BaseException):
    """Stands for the end of the process: nothing is cleaned up that a `finally` does not."""


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """Four files of about two thousand characters, read in blocks of 128 bytes."""
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 128)
    place = tmp_path / "texts"
    place.mkdir()
    for number in range(4):
        lines = [f"{number} täxt of {word} words\n" for word in range(100)]
        (place / f"{number}.txt").write_text("".join(lines), encoding="utf-8")
    return open_corpus("texts", tmp_path, tmp_path)


def prepare(settings: TokenizerSettings, corpus: Corpus) -> tuple[Tokenizer, Origin]:
    tokenizer = Tokenizer.train(settings, ("".join(chunk.text for chunk in corpus.chunks()),))
    return tokenizer, Origin(corpus.sha256(), "b" * 64, tokenizer.vocab_size)


def read_files(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


def stop_after(pieces: int, encoded: Generator[Piece]) -> Generator[Piece]:
    """The first pieces, then the end of the process."""
    for number, piece in enumerate(encoded):
        if number == pieces:
            raise Killed
        yield piece


@pytest.mark.parametrize("settings", LEVELS)
def test_a_store_is_the_same_however_often_it_was_interrupted(tmp_path, corpus, settings, caplog):
    tokenizer, origin = prepare(settings, corpus)
    build_store(tmp_path / "whole", encode_documents(tokenizer, corpus), origin)
    starts: list[int] = []

    def encode(start: int) -> Generator[Piece]:
        starts.append(start)
        yield from stop_after(11, encode_documents(tokenizer, corpus, False, start))

    caplog.set_level(logging.INFO)
    for _ in range(40):
        try:
            build_in_shards(tmp_path / "again", encode, origin, SHARD)
        except Killed:
            assert not (tmp_path / "again").exists()
        else:
            break
    assert read_files(tmp_path / "again") == read_files(tmp_path / "whole")
    assert starts[0] == 0
    assert len(starts) > 4
    assert sorted(set(starts)) == starts  # each went on further than the one before
    assert f"{starts[1]:,} characters are encoded already" in caplog.text
    assert [path.name for path in tmp_path.glob(".shards-*") if path.is_dir()] == []


def interrupt(path: Path, tokenizer: Tokenizer, corpus: Corpus, origin: Origin) -> Path:
    """Where the shards of an interrupted store are."""
    encode = partial(encode_documents, tokenizer, corpus, False)
    with pytest.raises(Killed):
        build_in_shards(path, lambda start: stop_after(20, encode(start)), origin, SHARD)
    (place,) = (each for each in path.parent.glob(".shards-*") if each.is_dir())
    assert (place / PROGRESS).exists()
    return place


@pytest.mark.parametrize("name", ["ids.bin", "documents.bin", PROGRESS, "*-shingles.safetensors"])
def test_a_damaged_shard_is_said_and_written_again(tmp_path, corpus, name, caplog):
    tokenizer, origin = prepare(LEVELS[0], corpus)
    build_store(tmp_path / "whole", encode_documents(tokenizer, corpus), origin)
    place = interrupt(tmp_path / "store", tokenizer, corpus, origin)
    (damaged,) = place.glob(name)
    content = bytearray(damaged.read_bytes())
    content[3] ^= 1
    damaged.write_bytes(content)
    starts: list[int] = []

    def encode(start: int) -> Generator[Piece]:
        starts.append(start)
        return encode_documents(tokenizer, corpus, False, start)

    build_in_shards(tmp_path / "store", encode, origin, SHARD)
    assert starts == [0]
    assert f"{place} is damaged (" in caplog.text
    assert read_files(tmp_path / "store") == read_files(tmp_path / "whole")


def test_what_was_written_after_the_last_shard_is_cut_off(tmp_path, corpus):
    tokenizer, origin = prepare(LEVELS[0], corpus)
    build_store(tmp_path / "whole", encode_documents(tokenizer, corpus), origin)
    place = interrupt(tmp_path / "store", tokenizer, corpus, origin)
    for name in ("ids.bin", "documents.bin"):
        with (place / name).open("ab") as file:
            file.write(b"half of a shard")
    build_in_shards(
        tmp_path / "store", partial(encode_documents, tokenizer, corpus, False), origin, SHARD
    )
    assert read_files(tmp_path / "store") == read_files(tmp_path / "whole")


@pytest.mark.parametrize("deletions", [0, 1, 2])
def test_a_process_killed_after_the_last_shard_loses_nothing(
    tmp_path, corpus, monkeypatch, deletions
):
    tokenizer, origin = prepare(LEVELS[0], corpus)
    build_store(tmp_path / "whole", encode_documents(tokenizer, corpus), origin)
    starts: list[int] = []

    def encode(start: int) -> Generator[Piece]:
        starts.append(start)
        return encode_documents(tokenizer, corpus, False, start)

    left = deletions
    unlink = Path.unlink

    def stop_deleting(path: Path, *, missing_ok: bool = False) -> None:
        nonlocal left
        if (path.parent / MANIFEST).exists() and path.suffix != ".tmp":
            if left == 0:
                raise Killed
            left -= 1
        unlink(path, missing_ok=missing_ok)

    def stop_renaming(path: Path, target: Path) -> Path:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stop_deleting)
        patch.setattr(Path, "rename", stop_renaming)
        with pytest.raises(Killed):
            build_in_shards(tmp_path / "store", encode, origin, SHARD)
    build_in_shards(tmp_path / "store", encode, origin, SHARD)
    assert read_files(tmp_path / "store") == read_files(tmp_path / "whole")
    if deletions == 0:  # it cannot know that there is nothing left
        assert starts[1] > corpus.count_characters() - 2 * SHARD
    else:
        assert starts == [0]


def test_files_before_the_start_are_not_read_again(tmp_path, corpus, monkeypatch):
    tokenizer, _ = prepare(LEVELS[0], corpus)
    start = sum(text.count_characters() for text in corpus.texts[:2])
    opened = []
    for text in corpus.texts:
        read = text.file.chunks
        name = Path(text.name).name
        monkeypatch.setattr(
            text.file, "chunks", lambda *a, read=read, name=name: opened.append(name) or read(*a)
        )
    pieces = [*encode_documents(tokenizer, corpus, False, start)]
    assert opened == ["2.txt", "3.txt"]
    assert sum(piece.counts.characters for piece in pieces) == corpus.count_characters() - start


def test_a_start_inside_a_chunk_is_refused(corpus):
    tokenizer, _ = prepare(LEVELS[0], corpus)
    with pytest.raises(ValueError, match="no chunk begins there"):
        [*encode_documents(tokenizer, corpus, False, 1)]


def test_a_second_process_waits_and_finds_the_store(tmp_path, corpus, caplog):
    tokenizer, origin = prepare(LEVELS[0], corpus)
    caplog.set_level(logging.INFO)
    second_is_waiting = threading.Event()
    times_encoded = 0

    class Waited(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "waiting for it" in record.getMessage():
                second_is_waiting.set()

    def encode(start: int) -> Generator[Piece]:
        nonlocal times_encoded
        times_encoded += 1
        assert second_is_waiting.wait(30) or times_encoded > 1
        yield from encode_documents(tokenizer, corpus, False, start)

    log = logging.getLogger("llm_timecycle")
    log.addHandler(handler := Waited())
    try:
        both = [
            threading.Thread(
                target=build_in_shards, args=(tmp_path / "store", encode, origin, SHARD)
            )
            for _ in range(2)
        ]
        for each in both:
            each.start()
        for each in both:
            each.join()
    finally:
        log.removeHandler(handler)
    assert times_encoded == 1
    assert (tmp_path / "store" / MANIFEST).exists()
    assert open_store(tmp_path / "store", origin) is not None
