"""From settings to ids: what is done once, what is done again, and what is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import DataError, RunError
from llm_timecycle.text import prepare
from llm_timecycle.text.cached_files import write_cached
from llm_timecycle.text.corpus import open_corpus
from llm_timecycle.text.prepare import PreparedText, encode_corpus, prepare_text
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

TEXT = "".join(f"line {number} of the text\n" for number in range(100))


def make_settings(level: str = "char", vocab_size: int = 300, **data: Any) -> Settings:
    """Settings with `my.txt` as the training text."""
    tokenizer = {"level": level, "vocab_size": vocab_size}
    return Settings.model_validate({"data": {"train": "my.txt", **data}, "tokenizer": tokenizer})


PARTS = [f"the {part} part of my.txt" for part in ("training", "validation", "test")]


def run(directory: Path, settings: Settings, **options: Any) -> PreparedText:
    """Prepare the texts of a directory, with a cache inside it."""
    return prepare_text(settings, directory, directory / "cache", False, **options)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a text."""
    (tmp_path / "my.txt").write_text(TEXT)
    return tmp_path


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was trained and encoded, and not found in the cache."""
    done: list[str] = []
    train, encode = Tokenizer.train, prepare.encode_documents
    monkeypatch.setattr(Tokenizer, "train", lambda *a, **o: done.append("train") or train(*a, **o))
    monkeypatch.setattr(
        prepare,
        "encode_documents",
        lambda t, corpus, *rest: done.append(corpus.name) or encode(t, corpus, *rest),
    )
    return done


def test_the_text_is_cut_and_encoded(directory):
    text = run(directory, make_settings(valid_fraction=0.1, test_fraction=0.1))
    assert text.valid is not None
    assert text.test is not None
    # 10 lines have 19 characters and 90 have 20, 1990 in all; lines start at 190 + 20 n from the
    # tenth on, and the cuts move on from 1592 and 1791 to 1610 and 1810.
    decoded = [text.tokenizer.decode(s.ids) for s in (text.train, text.valid, text.test)]
    assert "".join(decoded) == TEXT
    assert [len(part) for part in decoded] == [1610, 200, 180]


def test_the_tokenizer_sees_training_text_only(directory):
    (directory / "my.txt").write_text("a" * 90 + "\n" + "b" * 9)
    text = run(directory, make_settings(valid_fraction=0.09, test_fraction=0.0))
    assert text.tokenizer.vocab_size == 4
    assert text.valid is not None
    assert text.valid.ids.tolist() == [0] * 9 + [1]
    assert text.valid.unknown == 9
    assert text.test is None


def test_texts_can_be_given_one_by_one(directory):
    (directory / "held.txt").write_text("line")
    text = run(directory, make_settings(valid="held.txt", test_fraction=0.0))
    assert text.tokenizer.decode(text.train.ids) == TEXT
    assert text.valid is not None
    assert text.tokenizer.decode(text.valid.ids) == "line"


def test_what_is_unchanged_is_reused(directory, work):
    first = run(directory, make_settings())
    assert work == ["train", *PARTS]
    second = run(directory, make_settings())
    assert len(work) == 4
    assert second.train.ids.tolist() == first.train.ids.tolist()
    assert second.tokenizer.to_json() == first.tokenizer.to_json()


def test_a_tokenizer_that_was_saved_finds_what_it_encoded(directory, work):
    settings = make_settings("subword")
    saved = run(directory, settings).tokenizer.to_json().encode()
    work.clear()
    run(directory, settings, tokenizer=Tokenizer.parse(saved, "-", settings.tokenizer))
    assert work == []


def test_what_was_encoded_by_an_earlier_rule_for_subwords_is_encoded_again(
    directory, work, monkeypatch
):
    for level in ("char", "subword"):
        run(directory, make_settings(level))
    work.clear()
    monkeypatch.setattr(prepare, "SUBWORD_VERSION", prepare.SUBWORD_VERSION + 1)
    run(directory, make_settings("char"))
    assert work == []
    run(directory, make_settings("subword"))
    assert work == PARTS


def test_what_is_changed_is_done_again(directory, work):
    run(directory, make_settings())
    work.clear()
    run(directory, make_settings(level="word"))
    assert work == ["train", *PARTS]
    work.clear()
    (directory / "my.txt").write_text(TEXT[:-5] + "TEXT\n")
    text = run(directory, make_settings())
    assert work == ["train", *PARTS]
    assert text.test is not None
    assert text.test.unknown == 4


def test_a_tokenizer_that_is_given_is_used(directory, work):
    tokenizer = run(directory, make_settings()).tokenizer
    work.clear()
    (directory / "other.txt").write_text("text!")
    settings = make_settings(valid="other.txt", test_fraction=0.0)
    text = run(directory, settings, tokenizer=tokenizer)
    assert text.tokenizer is tokenizer
    assert "train" not in work
    assert text.valid is not None
    assert tokenizer.decode(text.valid.ids) == "text\ufffd"


def test_any_corpus_can_be_encoded(directory):
    tokenizer = Tokenizer.train(make_settings("byte").tokenizer, [])
    corpus = open_corpus("my.txt", directory, directory / "cache")
    stream = encode_corpus(tokenizer, corpus, directory / "cache", False)
    assert stream.corpus_sha256 == corpus.sha256()
    assert (stream.tokens, stream.bytes, stream.words) == (len(TEXT) + 1, len(TEXT), 500)


@pytest.mark.parametrize("kind", ["tokenizers/*.json", "spelling/*.json"])
def test_a_damaged_tokenizer_in_the_cache_is_trained_again(directory, work, caplog, kind):
    before = run(directory, make_settings()).tokenizer
    (kept,) = (directory / "cache").glob(kind)
    content = kept.read_bytes()
    kept.write_bytes(content.replace(b"1", b"2", 1))
    after = run(directory, make_settings()).tokenizer
    assert after.to_json() == before.to_json()
    assert kept.read_bytes() == content
    assert work == ["train", *PARTS, "train"]
    assert caplog.messages == [f"{kept} is damaged (its content has changed): it is made again"]


def test_a_tokenizer_of_the_right_name_for_other_settings_is_trained_again(directory, work):
    run(directory, make_settings())
    (kept,) = (directory / "cache" / "tokenizers").iterdir()
    kept.unlink()
    write_cached(kept.parent, kept.name.partition("-")[0], ".json", b"{}")
    assert run(directory, make_settings()).tokenizer.vocab_size > 10
    assert work == ["train", *PARTS, "train"]


def test_a_damaged_text_in_the_cache_is_encoded_again(directory, work, caplog):
    before = run(directory, make_settings())
    for file in (directory / "cache" / "tokens").glob("*/ids.bin"):
        content = bytearray(file.read_bytes())
        content[10] ^= 1
        file.write_bytes(content)
    after = run(directory, make_settings())
    assert after.train.ids.tolist() == before.train.ids.tolist()
    assert work == ["train", *PARTS, *PARTS]
    assert len(caplog.messages) == 3
    assert {message.partition(" is ")[2] for message in caplog.messages} == {
        "damaged (ids.bin has changed): it is made again"
    }


def test_bpe_learns_from_an_even_sample_of_a_large_text(directory, monkeypatch):
    monkeypatch.setattr(prepare, "BPE_CHARACTERS", 7)
    for number in range(6):
        (directory / f"{number}.txt").write_text(f"abc{number}")
    corpus = open_corpus("?.txt", directory, directory / "cache")
    # 24 characters are 4 times too many: the first and the fifth of six documents are read.
    subword = make_settings("subword").tokenizer
    assert [*prepare._read_for_learning(subword, corpus, False)] == ["abc0", "abc4"]
    word = make_settings("word").tokenizer
    assert [*prepare._read_for_learning(word, corpus, False)] == [
        f"abc{number}" for number in range(6)
    ]


def test_a_validation_part_without_text_is_refused(directory):
    (directory / "my.txt").write_text("one short line\n")
    with pytest.raises(DataError) as caught:
        run(directory, make_settings(valid_fraction=0.05, test_fraction=0.05))
    message = str(caught.value)
    assert "the validation part of my.txt is too short: it has 1 token;" in message
    assert message.endswith("These settings fit: data.valid_fraction=0")


def test_a_test_text_of_one_token_is_refused(directory):
    (directory / "held.txt").write_text("\n")
    with pytest.raises(DataError, match=r"held\.txt is too short: it has 1 token;"):
        run(directory, make_settings("word", test="held.txt"))


def test_a_training_part_without_text_is_refused(directory):
    (directory / "my.txt").write_text("\n")
    with pytest.raises(DataError, match=r"is too short: it has 1 token; .* longer text$"):
        run(directory, make_settings("word", valid_fraction=0.0, test_fraction=0.0))


def test_a_cache_that_cannot_be_written_is_named(directory):
    (directory / "cache").write_text("a file")
    with pytest.raises(RunError, match=r"cannot write .*cache: .*LLM_TIMECYCLE_CACHE"):
        run(directory, make_settings())


def test_a_full_disk_is_named_and_nothing_is_left(directory, monkeypatch):
    tokenizer = run(directory, make_settings()).tokenizer
    (directory / "my.txt").write_text("another text\n" * 10)

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted((directory / "cache" / "tokens").iterdir())
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunError, match="the disk is full"):
        run(directory, make_settings(), tokenizer=tokenizer)
    with pytest.raises(RunError, match="the disk is full"):
        run(directory, make_settings())
    assert sorted((directory / "cache" / "tokens").iterdir()) == before
    assert len([*(directory / "cache" / "tokenizers").iterdir()]) == 1


def test_progress_goes_to_stderr(directory, capsys):
    prepare_text(make_settings(), directory, directory / "cache", True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "learning the char vocabulary" in captured.err


def test_words_of_two_documents_are_not_learned_as_one(directory):
    names = ["one.txt", "two.txt"]
    for name, word in zip(names, ("clock", "tower"), strict=True):
        (directory / name).write_text(f"{word} {word}")
    settings = make_settings("word", train=names, valid_fraction=0.0, test_fraction=0.0)
    text = run(directory, settings)
    assert text.train.ids.tolist() == [1, 2, 2, 1, 3, 3, 1]
    assert text.train.document_starts.tolist() == [1, 4]
    assert [text.tokenizer.token(id) for id in (2, 3)] == ["clock", "tower"]
