"""tokenizer.json: it loads as it was saved, and nothing else is accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.errors import RunError
from llm_timecycle.text.tokenizer import load
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

TEXT = "The cat sat; the cat's 钟 ran.\n"
SETTINGS = {
    "char": TokenizerSettings(level="char"),
    "byte": TokenizerSettings(level="byte"),
    "word": TokenizerSettings(level="word"),
    "unicode": TokenizerSettings(level="word", word_split="unicode", lowercase=True),
    "subword": TokenizerSettings(level="subword", vocab_size=270, lowercase=True),
}


def save(directory: Path, level: str) -> tuple[Path, dict[str, Any]]:
    """A saved tokenizer: where, and what the file holds."""
    path = directory / "tokenizer.json"
    Tokenizer.train(SETTINGS[level], [TEXT]).save(path)
    return path, json.loads(path.read_text())


def parse(path: Path, level: str, **options: Any) -> Tokenizer:
    """The tokenizer in a file."""
    return Tokenizer.parse(path.read_bytes(), str(path), SETTINGS[level], **options)


def refuse(path: Path, level: str, content: dict[str, Any] | bytes) -> str:
    """The message that a file with this content is refused with."""
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(RunError) as caught:
        parse(path, level)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("level", [*SETTINGS])
def test_a_saved_tokenizer_comes_back(tmp_path, level):
    saved = Tokenizer.train(SETTINGS[level], [TEXT])
    saved.save(tmp_path / "tokenizer.json")
    loaded = parse(tmp_path / "tokenizer.json", level)
    assert loaded.to_json() == saved.to_json()
    assert loaded.vocab_size == saved.vocab_size
    assert loaded.encode(TEXT).tolist() == saved.encode(TEXT).tolist()
    twin = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert twin.encode(TEXT).ids == saved.encode(TEXT).tolist()
    assert twin.get_vocab_size() == saved.vocab_size


def test_a_large_file_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "FILE_BYTES_AT_MOST", 1000)
    message = refuse(tmp_path / "tokenizer.json", "char", b"[" * 1001)
    assert "1,001 bytes; the limit is 1,000" in message


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path, content):
    assert "it is not valid JSON" in refuse(tmp_path / "tokenizer.json", "char", content)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"model": 3}'])
def test_what_is_no_tokenizer_is_refused(tmp_path, content):
    assert "it holds no tokenizer" in refuse(tmp_path / "tokenizer.json", "char", content)


def test_another_kind_of_model_is_refused(tmp_path):
    path, content = save(tmp_path, "byte")
    message = refuse(path, "char", content)
    assert "expected a model of type WordLevel, found 'BPE'" in message
    assert "writes for level: char" in message


@pytest.mark.parametrize("vocabulary", [None, ["a"], {"<unk>": "0"}, {"<unk>": True}])
def test_a_vocabulary_that_is_no_table_is_refused(tmp_path, vocabulary):
    path, content = save(tmp_path, "char")
    content["model"]["vocab"] = vocabulary
    assert "its vocabulary is not a table from token to id" in refuse(path, "char", content)


@pytest.mark.parametrize(
    "vocabulary", [{"<unk>": 0, "<eos>": 1, "a": 3}, {"<unk>": 0, "<eos>": 1, "a": 1, "b": 2}]
)
def test_ids_with_gaps_or_doubles_are_refused(tmp_path, vocabulary):
    path, content = save(tmp_path, "char")
    content["model"]["vocab"] = vocabulary
    last = len(vocabulary) - 1
    assert f"ids of its {last + 1} tokens are not 0 to {last}" in refuse(path, "char", content)


@pytest.mark.parametrize("vocabulary", [{}, {"<eos>": 0, "<unk>": 1}, {"<unk>": 0, "a": 1}])
def test_special_tokens_out_of_place_are_refused(tmp_path, vocabulary):
    path, content = save(tmp_path, "char")
    content["model"]["vocab"] = vocabulary
    assert "its first tokens are not <unk> and <eos>" in refuse(path, "char", content)


def test_a_vocabulary_above_its_bound_is_refused(tmp_path):
    path, content = save(tmp_path, "subword")
    model = content["model"]
    model["merges"].append(["t", "Z"])
    model["vocab"]["tZ"] = 270
    assert "it has 271 tokens, and vocab_size is 270" in refuse(path, "subword", content)


@pytest.mark.parametrize(
    ("level", "token", "problem"),
    [
        ("char", "ab", "not a single character"),
        ("char", "", "not a single character"),
        ("word", "a b", "not a single word"),
        ("unicode", "", "not a single word"),
        ("unicode", "a\n", "not a single word"),
        ("subword", "钟", "its tokens are not made of the 256 bytes"),
        ("subword", "", "its tokens are not made of the 256 bytes"),
    ],
)
def test_a_token_that_the_level_cannot_have_is_refused(tmp_path, level, token, problem):
    path, content = save(tmp_path, level)
    vocabulary = content["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.__getitem__)
    vocabulary[token] = vocabulary.pop(last)
    assert problem in refuse(path, level, content)


def test_bytes_in_another_order_are_refused(tmp_path):
    path, content = save(tmp_path, "byte")
    content["model"]["vocab"].update({"a": 100, "b": 99})
    assert "its tokens are not the 256 bytes" in refuse(path, "byte", content)


@pytest.mark.parametrize("merge", ["a b", ["a"], ["a", "b", "c"], ["钟", "a"], ["!", "!"], [1, 2]])
def test_merges_that_do_not_fit_are_refused(tmp_path, merge):
    path, content = save(tmp_path, "subword")
    content["model"]["merges"][0] = merge
    assert "its merges do not fit its vocabulary" in refuse(path, "subword", content)


def test_a_merge_that_stands_twice_is_refused(tmp_path):
    """The library takes one of them, and nobody says which."""
    path, content = save(tmp_path, "subword")
    content["model"]["merges"].append(content["model"]["merges"][0])
    assert "it has a merge twice" in refuse(path, "subword", content)


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("normalizer", None),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("added_tokens", [{"id": 2, "content": "t", "special": True, "single_word": False,
                           "lstrip": False, "rstrip": False, "normalized": False}]),
        ("truncation", {"direction": "Right", "max_length": 3, "strategy": "LongestFirst",
                        "stride": 0}),
    ],
)  # fmt: skip
def test_a_file_that_splits_text_in_another_way_is_refused(tmp_path, section, value):
    path, content = save(tmp_path, "unicode")
    content[section] = value
    message = refuse(path, "unicode", content)
    assert "splits text differently" in message


def test_words_of_an_earlier_version_are_refused_by_that_name(tmp_path):
    path, content = save(tmp_path, "unicode")
    old = {"type": "Replace", "pattern": {"String": "<eos>"}, "content": "< eos >"}
    content["normalizer"] = {"type": "Sequence", "normalizers": [old]}
    message = refuse(path, "unicode", content)
    assert "made by an earlier version" in message
    assert "train the model again" in message


def test_another_normalization_is_refused(tmp_path):
    path, _ = save(tmp_path, "char")
    with pytest.raises(RunError, match="splits text differently"):
        parse(path, "char", normalize="NFC")


@pytest.mark.parametrize("kind", ["Nonsense", "Precompiled"])
def test_a_part_of_a_type_that_is_never_written_does_not_reach_the_library(tmp_path, kind, capfd):
    """The library would stop with a panic, and print it."""
    path, content = save(tmp_path, "unicode")
    content["normalizer"]["normalizers"].append({"type": kind, "precompiled_charsmap": "AAAA"})
    assert "splits text differently" in refuse(path, "unicode", content)
    assert capfd.readouterr() == ("", "")


def test_what_the_library_cannot_read_is_refused(tmp_path):
    path, content = save(tmp_path, "unicode")
    content["added_tokens"] = 3
    assert "tokenizers library rejects" in refuse(path, "unicode", content)


@pytest.mark.parametrize("level", ["char", "word", "unicode"])
def test_a_token_that_is_half_a_character_is_refused(tmp_path: Path, level: str) -> None:
    path, content = save(tmp_path, level)
    content["model"]["vocab"]["\ud800"] = len(content["model"]["vocab"])
    assert "half a character" in refuse(path, level, content)
