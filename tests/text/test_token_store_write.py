"""Whole corpora to ids: document ends, counts, and order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from llm_timecycle.config.settings import TokenizerSettings
from llm_timecycle.text import text_file as reading
from llm_timecycle.text import token_store_write as encoding
from llm_timecycle.text.corpus import Corpus, open_corpus, split_corpus
from llm_timecycle.text.token_store_write import Counts, encode_documents
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

WORD = TokenizerSettings(level="word")
UNICODE = TokenizerSettings(level="word", word_split="unicode")
CHAR = TokenizerSettings(level="char")
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
    assert {ids.dtype for ids, _ in pieces} == {tokenizer.dtype}
    ids = np.concatenate([ids for ids, _ in pieces]).tolist()
    return ids, sum((counts for _, counts in pieces), Counts())


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        # The words are a (twice) and b: 2 and 3.
        (WORD, [2, 3, 1, 2, 1]),
        (UNICODE, [2, 3, 1, 2, 1]),
        # The characters are a (twice), line feed, space, b: 2, 3, 4, 5.
        (CHAR, [2, 4, 5, 3, 1, 2, 1]),
    ],
)
def test_each_document_ends_with_one_eos(tmp_path, settings, ids):
    corpus = open_texts(tmp_path, "a b\n", "a")
    tokenizer = Tokenizer.train(settings, ["a b\n", "a"])
    assert encode(tokenizer, corpus)[0] == ids


@pytest.mark.parametrize("text", ["a\n  ", "a\n \n", "a\n\n"])
def test_white_space_after_the_last_line_break_does_not_count(tmp_path, text):
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
    text = "It's  a clock: 3.50,\n\n  and a 钟。 A clock ticks\n" * 30 + "a long line " * 30
    corpus = open_texts(tmp_path, text)
    tokenizer = Tokenizer.train(settings, [text])
    whole = encode(tokenizer, corpus)
    assert whole[0][:-1] == tokenizer.encode(text).tolist()
    monkeypatch.setattr(reading, "BLOCK_BYTES", 50)
    assert len([*corpus.texts[0].chunks()]) > 20
    assert encode(tokenizer, corpus) == whole


def test_progress_goes_to_stderr(tmp_path, capsys):
    tokenizer = Tokenizer.train(CHAR, ["ab"])
    corpus = open_texts(tmp_path, "ab")
    assert len([*encode_documents(tokenizer, corpus, show_progress=True)]) == 2
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

    with ThreadPoolExecutor(encoding.THREADS) as pool:
        for place, result in enumerate(encoding._map_in_order(pool, lambda n: -n, inputs())):
            assert result == -place
            assert len(read) <= place + 1 + encoding.THREADS
    assert len(read) == 100
