"""The token store: document ends, counts and order; a store is complete or not there at all."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from llm_timecycle import files
from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.sealed_json import read_sealed, write_sealed
from llm_timecycle.text import text_file, token_store
from llm_timecycle.text.cached_files import keep_newest
from llm_timecycle.text.chunks import Chunk
from llm_timecycle.text.corpus import Corpus, open_corpus
from llm_timecycle.text.encoding import encode_chunk, encode_documents
from llm_timecycle.text.parallel.pool import map_in_order
from llm_timecycle.text.shards.store_writer import build_store
from llm_timecycle.text.shingles import sketch_piece
from llm_timecycle.text.split import split_corpus
from llm_timecycle.text.token_store import (
    Counts,
    Origin,
    Piece,
    TokenStream,
    open_store,
)
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

ORIGIN = Origin("a" * 64, "b" * 64, vocab_size=701)
NO_ENDS = np.zeros(0, np.int64)
PIECES = [
    Piece(
        np.array([2, 3, 0], np.uint16), Counts(3, 2, 9, 10, 1), NO_ENDS, sketch_piece(b"a" * 50, 0)
    ),
    Piece(np.array([700], np.uint16), Counts(1, 1, 4, 4, 0), NO_ENDS, sketch_piece(b"b" * 50, 0)),
]
WORD = TokenizerSettings(level="word")
UNICODE = TokenizerSettings(level="word", word_split="unicode")
CHAR = TokenizerSettings(level="char")
BYTE = TokenizerSettings(level="byte", vocab_size=258)
SUBWORD = TokenizerSettings(level="subword", vocab_size=300)


def open_texts(directory: Path, *texts: str) -> Corpus:
    """A corpus with a document for each text."""
    names = [f"{number}.txt" for number in range(len(texts))]
    for name, text in zip(names, texts, strict=True):
        (directory / name).write_text(text, encoding="utf-8", newline="")
    return open_corpus(names, directory, directory / "cache")


def encode(tokenizer: Tokenizer, corpus: Corpus) -> tuple[list[int], Counts]:
    """All ids and the sum of the counts."""
    pieces = [*encode_documents(tokenizer, corpus)]
    assert {piece.ids.dtype for piece in pieces} == {tokenizer.dtype}
    ids = np.concatenate([piece.ids for piece in pieces]).tolist()
    return ids, sum((piece.counts for piece in pieces), Counts())


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        # The words are a (twice) and b: 2 and 3.
        (WORD, [2, 3, 1, 2, 1]),
        # With the line feed: 2, 4 and 3.
        (UNICODE, [2, 4, 3, 1, 2, 1]),
        # The characters are a (twice), line feed, space, b: 2, 3, 4, 5.
        (CHAR, [2, 4, 5, 3, 1, 2, 1]),
    ],
)
def test_each_document_ends_with_one_eos(tmp_path, settings, ids):
    corpus = open_texts(tmp_path, "a b\n", "a")
    tokenizer = Tokenizer.train(settings, ["a b\n", "a"])
    assert encode(tokenizer, corpus)[0] == ids


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
@pytest.mark.parametrize("text", ["a\n  ", "a\n \n", "a\n\n"])
def test_white_space_after_the_last_line_break_does_not_count(
    tmp_path, text, block_bytes, monkeypatch
):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", block_bytes)
    tokenizer = Tokenizer.train(WORD, ["a"])
    ids, _ = encode(tokenizer, open_texts(tmp_path, text))
    assert ids == [2] + [1] * text.count("\n")


@pytest.mark.parametrize("settings", [CHAR, SUBWORD, UNICODE])
def test_a_document_that_is_cut_has_no_eos_at_the_cut(tmp_path, settings):
    text = "".join(f"line {number}, 钟\n" for number in range(40)) + "end"
    corpus = open_texts(tmp_path, text)
    tokenizer = Tokenizer.train(settings, [text])
    parts = [part for part in split_corpus(corpus, 0.2, 0.2) if part is not None]
    assert len(parts) == 3
    joined = [id for part in parts for id in encode(tokenizer, part)[0]]
    assert joined == [*tokenizer.encode(text).tolist(), 1]


def test_counts_are_those_of_the_text_as_it_is_read(tmp_path):
    # naïve is 5 characters and 6 bytes, 钟 is 3 bytes; İ is 2 bytes, and 2 characters once lowered.
    settings = CHAR.model_copy(update={"lowercase": True})
    tokenizer = Tokenizer.train(settings, ["naïve 钟\n"])
    ids, counts = encode(tokenizer, open_texts(tmp_path, "naïve 钟\r\n", "İ X"))
    assert len(ids) == 8 + 1 + 4 + 1
    assert counts == Counts(tokens=14, words=4, characters=11, bytes=15, unknown=3)


@pytest.mark.parametrize("settings", [CHAR, SUBWORD, UNICODE, WORD])
def test_a_text_is_the_same_in_pieces_of_any_size(tmp_path, settings, monkeypatch):
    text = "It's  a clock: 3.50,\n\n  and a 钟。 A clock ticks\n" * 30 + "a long, long line " * 30
    corpus = open_texts(tmp_path, text)
    tokenizer = Tokenizer.train(settings, [text])
    whole = encode(tokenizer, corpus)
    assert whole[0][:-1] == tokenizer.encode(text).tolist()
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 50)
    assert len([*corpus.texts[0].chunks()]) > 20
    assert encode(tokenizer, corpus) == whole


LINES = ["a b", "b", "", "a a b"]
"""Documents: what stands between them is not text."""


def make_chunk(documents: list[str], *, reaches_end: bool = True) -> Chunk:
    ends = np.cumsum([len(text) for text in documents]).tolist()
    return Chunk("".join(documents), tuple(ends if reaches_end else ends[:-1]))


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        # The words are a (three times) and b: 2 and 3. An empty document is its <eos>.
        (WORD, [2, 3, 1, 3, 1, 1, 2, 2, 3, 1]),
        # The characters are space (three times), a (three times) and b (three times): 2, 3, 4.
        (CHAR, [3, 2, 4, 1, 4, 1, 1, 3, 2, 3, 2, 4, 1]),
        (BYTE, [99, 34, 100, 1, 100, 1, 1, 99, 34, 99, 34, 100, 1]),
    ],
)
def test_each_document_of_a_chunk_ends_with_eos_and_where_it_ends_is_known(settings, ids):
    tokenizer = Tokenizer.train(settings, LINES, documents="line")
    piece = encode_chunk(tokenizer, 0, make_chunk(LINES), follows_line_break=False)
    assert piece.ids.tolist() == ids
    assert piece.ids.dtype == tokenizer.dtype
    assert piece.ends.tolist() == (np.flatnonzero(piece.ids == 1) + 1).tolist()
    assert piece.counts == Counts(tokens=len(ids), words=6, characters=9, bytes=9)
    cut = encode_chunk(tokenizer, 0, make_chunk(LINES, reaches_end=False), follows_line_break=False)
    assert cut.ids.tolist() == ids[:-1]
    assert cut.ends.tolist() == piece.ends[:-1].tolist()


TRICKY = ["İ 钟 naïve", "ΑΣ it's", " \t x", "a\nb\n", "", "e\u0301 👋🏽"]


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("settings", [WORD, UNICODE, CHAR, BYTE, SUBWORD])
def test_documents_together_are_encoded_as_each_is_alone(settings, lowercase):
    settings = settings.model_copy(update={"lowercase": lowercase})
    tokenizer = Tokenizer.train(settings, TRICKY[::2], documents="paragraph")
    piece = encode_chunk(tokenizer, 0, make_chunk(TRICKY), follows_line_break=False)
    alone = [tokenizer.encode(text).tolist() for text in TRICKY]
    alone = [ids if ids[-1:] == [1] else [*ids, 1] for ids in alone]
    assert piece.ids.tolist() == [id for ids in alone for id in ids]
    assert piece.ends.tolist() == np.cumsum([len(ids) for ids in alone]).tolist()


def test_a_line_break_inside_a_document_is_a_space_where_eos_ends_documents():
    chunk = make_chunk(["a\nb\n", "a"])
    files, records = (Tokenizer.train(WORD, ["a b"], documents=kind) for kind in ("file", "record"))
    assert encode_chunk(files, 0, chunk, follows_line_break=False).ids.tolist() == [
        2,
        1,
        3,
        1,
        2,
        1,
    ]
    assert encode_chunk(records, 0, chunk, follows_line_break=False).ids.tolist() == [2, 3, 1, 2, 1]


def test_words_are_not_joined_across_documents():
    tokenizer = Tokenizer.train(WORD, ["ab"], documents="line")
    piece = encode_chunk(tokenizer, 0, make_chunk(["a", "b"]), follows_line_break=False)
    assert piece.counts.words == 2
    assert piece.ids.tolist() == [0, 1, 0, 1]


def test_progress_goes_to_stderr(tmp_path, capsys):
    tokenizer = Tokenizer.train(CHAR, ["ab"])
    corpus = open_texts(tmp_path, "ab")
    assert len([*encode_documents(tokenizer, corpus, show_progress=True)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "encoding 0.txt" in captured.err
    assert "0.00/2.00" in captured.err


def test_threads_keep_the_order_and_do_not_read_ahead():
    read = []

    def inputs():
        for number in range(100):
            read.append(number)
            yield number

    with ThreadPoolExecutor(3) as pool:
        for position, result in enumerate(map_in_order(pool, 3, lambda n: -n, inputs())):
            assert result == -position
            assert len(read) <= position + 1 + 3
    assert len(read) == 100


def build(path: Path, pieces: list[Piece] | Iterator[Piece] = PIECES) -> TokenStream:
    """A store at `path`, opened."""
    build_store(path, pieces, ORIGIN)
    stream = open_store(path, ORIGIN)
    assert stream is not None
    return stream


def test_a_store_holds_what_was_put_in(tmp_path):
    stream = build(tmp_path / "cache" / "store")
    assert stream.ids.dtype == np.uint16
    assert stream.ids.tolist() == [2, 3, 0, 700]
    assert (stream.tokens, stream.words, stream.characters, stream.bytes) == (4, 3, 13, 14)
    assert stream.shingles is not None
    assert stream.shingles.counts.tolist() == [3, 3]  # of 50 equal bytes, three times the same 48
    assert (stream.unknown, stream.corpus_sha256) == (1, "a" * 64)
    assert stream.document_starts.tolist() == []


def store(directory: Path, *texts: str) -> TokenStream:
    """A corpus of these files at char level, stored: a is 2, b is 3."""
    tokenizer = Tokenizer.train(CHAR, ["aab"])
    origin = Origin("a" * 64, "b" * 64, tokenizer.vocab_size)
    pieces = encode_documents(tokenizer, open_texts(directory, *texts))
    build_store(directory / "store", pieces, origin)
    stream = open_store(directory / "store", origin)
    assert stream is not None
    return stream


def test_a_stream_of_several_documents_begins_with_eos_and_says_where_each_begins(tmp_path):
    stream = store(tmp_path, "ab", "b", "aa")
    assert stream.ids.tolist() == [1, 2, 3, 1, 3, 1, 2, 2, 1]
    assert stream.document_starts.tolist() == [1, 4, 6]
    assert (stream.tokens, stream.characters) == (9, 5)


def test_a_stream_of_one_document_begins_with_its_text(tmp_path):
    stream = store(tmp_path, "ab")
    assert stream.ids.tolist() == [2, 3, 1]
    assert stream.document_starts.tolist() == []
    assert stream.tokens == 3


def test_a_part_of_one_document_has_no_document_start(tmp_path):
    tokenizer = Tokenizer.train(CHAR, ["ab"])
    part = open_texts(tmp_path, "ab" * 50).cut(10, 20, "part")
    origin = Origin("a" * 64, "b" * 64, tokenizer.vocab_size)
    build_store(tmp_path / "part", encode_documents(tokenizer, part), origin)
    stream = open_store(tmp_path / "part", origin)
    assert stream is not None
    assert stream.ids.tolist() == [2, 3] * 5
    assert stream.document_starts.tolist() == []


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
        assert open_store(tmp_path / "store", ORIGIN) is None
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


def reseal(path: Path, **changes: object) -> None:
    """Change a manifest on purpose; it covers itself again."""
    manifest = read_sealed((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_bytes(write_sealed(manifest | changes))


def replace_file(path: Path, content: bytes, entry: str, **changes: object) -> None:
    """Replace a file of a store on purpose; the manifest covers it again."""
    path.write_bytes(content)
    reseal(path.parent, **{entry: hashlib.sha256(content).hexdigest()}, **changes)


def replace_ids(path: Path, ids: list[int]) -> None:
    replace_file(path / "ids.bin", np.array(ids, np.uint16).tobytes(), "ids_sha256")


def replace_starts(path: Path, starts: list[int]) -> None:
    content = np.array(starts, np.int64).tobytes()
    ended = len(starts) - 1
    replace_file(path / "documents.bin", content, "documents_sha256", documents_ended=ended)


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


COUNTS = {"tokens": 4, "words": 3, "characters": 13, "bytes": 14, "unknown": 1}
DAMAGE: dict[str, Callable[[Path], object]] = {
    "no ids": lambda path: (path / "ids.bin").unlink(),
    "no shingles": lambda path: (path / "shingles.safetensors").unlink(),
    "no documents": lambda path: (path / "documents.bin").unlink(),
    "no manifest": lambda path: (path / "manifest.json").unlink(),
    "ids cut": lambda path: (path / "ids.bin").write_bytes(b"1234567"),
    "ids a pipe": lambda path: make_pipe(path / "ids.bin"),
    "manifest a pipe": lambda path: make_pipe(path / "manifest.json"),
    "no JSON": lambda path: (path / "manifest.json").write_text("{"),
    "no object": lambda path: (path / "manifest.json").write_text("[]"),
    "deep JSON": lambda path: (path / "manifest.json").write_text("[" * 60_000),
    "empty": lambda path: (path / "manifest.json").write_bytes(write_sealed({})),
    "version": lambda path: reseal(path, format_version=2),
    "more keys": lambda path: reseal(path, more=1),
    "other text": lambda path: reseal(path, corpus_sha256="c" * 64),
    "other tokenizer": lambda path: reseal(path, tokenizer_sha256="c" * 64),
    "tokens": lambda path: reseal(path, counts=COUNTS | {"tokens": 3}),
    "huge": lambda path: reseal(path, counts=COUNTS | {"tokens": 10**400}),
    "whole": lambda path: reseal(path, counts=COUNTS | {"tokens": 4.0}),
    "negative": lambda path: reseal(path, counts=COUNTS | {"words": -1}),
    "unknown": lambda path: reseal(path, counts=COUNTS | {"unknown": 0}),
    "words": lambda path: reseal(path, counts=COUNTS | {"words": 14}),
    "characters": lambda path: reseal(path, counts=COUNTS | {"characters": 15}),
    "documents": lambda path: reseal(path, documents_ended=1),
    "not in the vocabulary": lambda path: replace_ids(path, [1, 2, 3, 0, 701]),
    "first id": lambda path: replace_ids(path, [2, 2, 3, 0, 700]),
    "no first document": lambda path: replace_starts(path, [0]),
    "document too far": lambda path: replace_starts(path, [1, 6]),
    "document below 0": lambda path: replace_starts(path, [1, -1]),
    "documents not in order": lambda path: replace_starts(path, [1, 1]),
    "document in a text": lambda path: replace_starts(path, [1, 3]),
    "no sketch": lambda path: replace_file(
        path / "shingles.safetensors", b"1234567", "shingles_sha256"
    ),
    "the store a pipe": lambda path: [shutil.rmtree(path), os.mkfifo(path)],
    "the store a file": lambda path: [shutil.rmtree(path), path.touch()],
    "the store a link": lambda path: [
        shutil.move(path, path.parent / "elsewhere"),
        (path.parent / "elsewhere" / "ids.bin").unlink(),
        path.symlink_to(path.parent / "elsewhere"),
    ],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_a_damaged_store_is_said_and_built_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object]
) -> None:
    path = tmp_path / "store"
    build(path)
    assert read_sealed((path / "manifest.json").read_bytes())["counts"] == COUNTS
    damage(path)
    assert open_store(path, ORIGIN) is None
    (message,) = caplog.messages
    assert message.startswith(f"{path} is damaged (")
    assert "\n" not in message
    assert not os.path.lexists(path)
    assert build(path).ids.tolist() == [2, 3, 0, 700]


@pytest.mark.parametrize("name", ["documents.bin", "ids.bin", "shingles.safetensors"])
def test_any_changed_byte_of_a_store_is_found(tmp_path: Path, name: str) -> None:
    build(tmp_path / "whole")
    content = (tmp_path / "whole" / name).read_bytes()
    for place in range(0, len(content), 1 + len(content) // 40):
        shutil.copytree(tmp_path / "whole", tmp_path / "store")
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        (tmp_path / "store" / name).write_bytes(changed)
        assert open_store(tmp_path / "store", ORIGIN) is None


def test_any_changed_character_of_a_manifest_is_found(tmp_path: Path) -> None:
    build(tmp_path / "whole")
    content = (tmp_path / "whole" / "manifest.json").read_text()
    for place in [match.start() for match in re.finditer(r"\w", content)][::11]:
        shutil.copytree(tmp_path / "whole", tmp_path / "store")
        other = "0" if content[place] != "0" else "1"
        changed = content[:place] + other + content[place + 1 :]
        (tmp_path / "store" / "manifest.json").write_text(changed)
        assert open_store(tmp_path / "store", ORIGIN) is None


def test_a_store_that_is_not_there_is_not_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert open_store(tmp_path / "none", ORIGIN) is None
    assert caplog.messages == []


def test_a_damaged_store_that_appears_while_another_is_built_is_replaced(tmp_path: Path) -> None:
    def pieces() -> Iterator[Piece]:
        yield from PIECES
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "ids.bin").touch()

    assert build(tmp_path / "store", pieces()).ids.tolist() == [2, 3, 0, 700]
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


def test_small_stores_are_copied_and_large_ones_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was copied stays as it was checked, whatever happens to the file."""
    copied = build(tmp_path / "store").ids
    monkeypatch.setattr(files, "READ_AT_MOST", 4)
    mapped = open_store(tmp_path / "store", ORIGIN)
    assert mapped is not None
    assert isinstance(mapped.ids.base, mmap.mmap)  # so that its pages can be released
    with (tmp_path / "store" / "ids.bin").open("r+b") as file:
        file.write(np.array([1, 5, 5, 5, 5], np.uint16).tobytes())
    assert mapped.ids.tolist() == [5, 5, 5, 5]
    assert copied.tolist() == [2, 3, 0, 700]


def test_ids_are_checked_across_the_borders_of_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = store(tmp_path, "ab", "b", "aa")
    path, origin = tmp_path / "store", Origin("a" * 64, "b" * 64, vocab_size=4)
    for ids_at_once in range(1, 10):
        monkeypatch.setattr(token_store, "NUMBERS_CHECKED_AT_ONCE", ids_at_once)
        again = open_store(path, origin)
        assert again is not None
        assert again.ids.tolist() == stream.ids.tolist()
        assert again.document_starts.tolist() == [1, 4, 6]


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
    stream = open_store(tmp_path / "b", ORIGIN)
    assert stream is not None
    gone = open_store(tmp_path / "a", ORIGIN)
    assert gone is not None
    os.utime(tmp_path / "a", (now_s - 300, now_s - 300))
    keep_newest(tmp_path, 1)
    # "b" was opened just now; what is hidden is at work, unless it is older than a day.
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".new", "b"]
    assert gone.ids.tolist() == [2, 3, 0, 700]
