"""A passage's place is where a reader finds it: the line of the file, or the document."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from llm_timecycle.config.text_settings import DataSettings, TokenizerSettings
from llm_timecycle.evaluation.copies import places
from llm_timecycle.evaluation.copies.places import find_places
from llm_timecycle.text.corpus import Corpus, open_corpus
from llm_timecycle.text.encoding import encode_documents
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

LEVELS = {
    "char": TokenizerSettings(level="char"),
    "byte": TokenizerSettings(level="byte"),
    "word": TokenizerSettings(level="word", word_split="whitespace"),
    "unicode words": TokenizerSettings(level="word", word_split="unicode"),
    "subword": TokenizerSettings(level="subword", vocab_size=400),
}


def write_lines(lines: int) -> list[str]:
    """Lines of made-up words, no two alike; every fifth is empty."""
    draw = random.Random(1)
    return [
        ""
        if number % 5 == 4
        else " ".join("".join(draw.choices("abcdefgh", k=4)) for _ in range(9)) + "."
        for number in range(lines)
    ]


LINES = write_lines(400)


def encode(
    corpus: Corpus, settings: TokenizerSettings, documents: str
) -> tuple[Tokenizer, np.ndarray]:
    chunks = [c for d in corpus.documents() for chunk in d.chunks() for c in chunk.split()]
    tokenizer = Tokenizer.train(settings, chunks, documents=documents)  # type: ignore[arg-type]
    return tokenizer, np.concatenate([piece.ids for piece in encode_documents(tokenizer, corpus)])


@pytest.mark.parametrize("settings", LEVELS.values(), ids=LEVELS)
def test_a_passage_is_found_at_its_line(tmp_path: Path, settings: TokenizerSettings) -> None:
    file = tmp_path / "novel.txt"
    file.write_text("\n".join(LINES) + "\n")
    corpus = open_corpus(str(file), tmp_path, tmp_path)
    tokenizer, ids = encode(corpus, settings, "file")
    for line in (0, 137, 398):
        wanted = tokenizer.encode(LINES[line])
        place = next(
            start for start in range(len(ids)) if (ids[start : start + len(wanted)] == wanted).all()
        )
        found = find_places(corpus, tokenizer, [(wanted.astype(np.int64), place / len(ids))])
        assert found == [f"{file}:{line + 1}"]


def test_a_document_is_named_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "poems.txt"
    file.write_text("\n".join(LINES) + "\n")
    how = DataSettings(documents="line")
    corpus = open_corpus(str(file), tmp_path, tmp_path, how=how)
    tokenizer, _ = encode(corpus, LEVELS["char"], "line")
    wanted = tokenizer.encode(LINES[7]).astype(np.int64)
    found = find_places(corpus, tokenizer, [(wanted, 7 / 400)])
    assert found == [f"{file}, document 7"]  # the empty fifth line is none


def test_in_several_files_and_in_a_part_the_right_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PIECES_TRIED", 2)
    for number in range(3):
        part = LINES[number * 100 : number * 100 + 100]
        (tmp_path / f"{number}.txt").write_text("\n".join(part) + "\n")
    corpus = open_corpus(str(tmp_path), tmp_path, tmp_path)
    total = corpus.count_characters()
    part = corpus.cut(total // 10, total, "part")
    tokenizer, _ = encode(part, LEVELS["char"], "file")
    wanted = [tokenizer.encode(LINES[line]).astype(np.int64) for line in (50, 230)]
    found = find_places(part, tokenizer, [(wanted[0], 0.08), (wanted[1], 0.75)])
    assert found == [f"{tmp_path / '0.txt'}:51", f"{tmp_path / '2.txt'}:31"]
    gone = find_places(part, tokenizer, [(wanted[1], 0.0)])
    assert gone == [None]  # too far from where it should be


def test_a_passage_that_ends_with_its_file_is_found_with_the_end(tmp_path: Path) -> None:
    for number in range(2):
        part = LINES[number * 100 : number * 100 + 99]
        (tmp_path / f"{number}.txt").write_text("\n".join(part) + "\n")
    corpus = open_corpus(str(tmp_path), tmp_path, tmp_path)
    tokenizer, ids = encode(corpus, LEVELS["char"], "file")
    end = int(np.flatnonzero(ids == tokenizer.eos_id)[0]) + 1
    found = find_places(corpus, tokenizer, [(ids[end - 40 : end].astype(np.int64), 0.49)])
    assert found == [f"{tmp_path / '0.txt'}:99"]
