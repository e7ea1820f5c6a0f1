"""The sample of a large text: where its pieces are, and how they are trimmed."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.config.settings import Settings
from llm_timecycle.config.text_settings import DataSettings
from llm_timecycle.text import prepare
from llm_timecycle.text.chunks import Chunk
from llm_timecycle.text.corpus import Corpus, open_corpus
from llm_timecycle.text.prepare import PreparedText, prepare_text
from llm_timecycle.text.shards.sampling import draw_sample, find_starts, read_parts, trim_chunk

LINES = [f"line {number} of the text\n" for number in range(300)]


def open_lines(
    directory: Path, files: int, *, packed: bool = False, data: DataSettings | None = None
) -> Corpus:
    """`LINES`, spread over files."""
    place = directory / f"{files}-{packed}"
    place.mkdir()
    for number in range(files):
        text = "".join(LINES[number::files]).encode()
        path = place / f"{number}.txt{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(text) if packed else text)
    return open_corpus(str(place), directory, directory, how=data or DataSettings())


def test_pieces_are_equally_far_from_one_another_from_end_to_end():
    starts = find_starts(total=1003, length=10, pieces=7)
    assert starts[0] == 0
    assert starts[-1] + 10 == 1003
    assert {after - before for before, after in pairwise(starts)} == {165, 166}


def test_every_file_of_equal_length_is_sampled(tmp_path):
    sample = draw_sample(open_lines(tmp_path, 5), characters=800, pieces=20)
    assert sample.count_characters() == 800
    names = [Path(text.name).name for text in sample.texts]
    assert {names.count(f"{number}.txt") for number in range(5)} <= {4, 5}  # one lies across


@pytest.mark.parametrize("documents", ["file", "line"])
def test_the_sample_is_whole_lines_of_the_text(tmp_path, documents):
    corpus = open_lines(tmp_path, 3, data=DataSettings(documents=documents))
    sample = draw_sample(corpus, characters=1600, pieces=16)
    texts = [text for chunk in sample.chunks() for text in chunk.split()]
    lines = [line for text in texts for line in text.splitlines()]
    assert set(lines) <= {line.rstrip("\n") for line in LINES}
    assert 16 * 2 <= len(lines) == len(set(lines)) <= 16 * 5  # a line has 20 characters or more


@pytest.mark.parametrize("documents", ["file", "line"])
def test_a_compressed_file_gives_the_same_sample_in_one_pass(tmp_path, documents, monkeypatch):
    data = DataSettings(documents=documents)
    plain, packed = (open_lines(tmp_path, 2, packed=p, data=data) for p in (False, True))
    expected = draw_sample(plain, characters=900, pieces=9)
    sample = draw_sample(packed, characters=900, pieces=9)
    opened = []
    for file in {text.file for text in sample.texts}:
        chunks = file.chunks
        monkeypatch.setattr(file, "chunks", lambda *a, c=chunks: opened.append(a) or c(*a))
    assert [*sample.chunks()] == [*expected.chunks()]
    assert sample.sha256() == expected.sha256()
    assert len(opened) == 2


def test_parts_across_chunks_of_a_compressed_file_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("llm_timecycle.text.text_file.BLOCK_BYTES", 64)
    packed = open_lines(tmp_path, 1, packed=True)
    text = "".join(LINES)
    cuts = [(0, 10), (10, 300), (301, 500), (len(text) - 90, len(text))]
    parts = [packed.cut(*cut, "part").texts[0] for cut in cuts]
    found = [chunk.text for _, chunk in read_parts(parts)]
    assert found == [text[start:stop] for start, stop in cuts]


@pytest.mark.parametrize(
    ("chunk", "begins", "ends", "expected"),
    [
        (Chunk("ne\none\ntw"), False, False, "one\n"),
        (Chunk("ne\none\ntw"), True, False, "ne\none\n"),
        (Chunk("ne\none\ntw"), False, True, "one\ntw"),
        (Chunk("neonetw", (2, 5)), False, False, "one"),  # documents
        (Chunk("ne one two thr"), False, False, " one two"),
        (Chunk("unbroken"), False, False, "unbroken"),
        (Chunk("ne\n"), False, False, ""),
        (Chunk(""), False, False, ""),
    ],
)
def test_what_is_cut_off_at_either_end(chunk, begins, ends, expected):
    assert trim_chunk(chunk, begins=begins, ends=ends).text == expected


def prepare_sampled(
    directory: Path, monkeypatch: pytest.MonkeyPatch, level: str, **limits: Any
) -> PreparedText:
    """The texts of a directory with the lines of `LINES`, of which 2,000 characters are learned."""
    for name, value in {"SAMPLE_CHARACTERS": 2000, **limits}.items():
        monkeypatch.setattr(prepare, name, value)
    monkeypatch.setattr(prepare, "draw_sample", lambda corpus, n: draw_sample(corpus, n, pieces=10))
    (directory / "my.txt").write_text("".join(LINES))
    settings = Settings.model_validate(
        {"data": {"train": "my.txt"}, "tokenizer": {"level": level, "vocab_size": 2000}}
    )
    return prepare_text(settings, directory, directory / "cache", False)


def test_words_outside_the_sample_are_not_learned(tmp_path, monkeypatch):
    text = prepare_sampled(tmp_path, monkeypatch, "word")
    assert text.sample is not None
    learned = {word for chunk in text.sample.chunks() for word in chunk.text.split()}
    assert text.tokenizer.vocab_size == len(learned) + 2
    assert "N characters of the training text" in text.sample.rule
    assert "10 pieces of 200 characters" in text.sample.rule
    assert text.train.unknown > 0


def test_bpe_learns_from_fewer_characters_of_the_sample(tmp_path, monkeypatch):
    text = prepare_sampled(tmp_path, monkeypatch, "subword", BPE_CHARACTERS=1000)
    assert text.sample is not None
    assert text.sample.count_characters() == 1000


def test_a_text_that_is_not_large_is_learned_whole(tmp_path, monkeypatch):
    limit = sum(map(len, LINES))
    text = prepare_sampled(tmp_path, monkeypatch, "word", SAMPLE_CHARACTERS=limit)
    assert text.sample is None
