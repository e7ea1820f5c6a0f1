"""Files measured by worker processes: the same as here, and the same errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from llm_timecycle.config.text_settings import DataSettings
from llm_timecycle.errors import DataError
from llm_timecycle.text.corpus import open_corpus
from llm_timecycle.text.parallel import pool
from llm_timecycle.text.shards import measuring

RECORDS = DataSettings(documents="record", field="text")


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers for every corpus."""
    monkeypatch.setattr(measuring, "BYTES_FOR_WORKERS", 0)
    monkeypatch.setattr(pool, "CHARACTERS_FOR_WORKERS", 0)
    monkeypatch.setattr(pool, "count_hardware_threads", lambda: 2)


def write_texts(directory: Path, suffix: str) -> Path:
    place = directory / "texts"
    place.mkdir()
    for number in range(3):
        lines = [f"{number} täxt {word}" for word in range(50)]
        if suffix == ".jsonl":
            lines = [json.dumps({"text": line}) for line in lines]
        (place / f"{number}{suffix}").write_text("\n".join(lines), encoding="utf-8")
    return place


@pytest.mark.parametrize(("suffix", "how"), [(".txt", DataSettings()), (".jsonl", RECORDS)])
def test_workers_measure_what_this_process_would(tmp_path, suffix, how, request, capsys):
    write_texts(tmp_path, suffix)
    here = open_corpus("texts", tmp_path, tmp_path, how=how)
    request.getfixturevalue("workers")
    there = open_corpus("texts", tmp_path, tmp_path, how=how, show_progress=True)
    assert there.sha256() == here.sha256()
    assert [text.file.measure() for text in there.texts] == [
        text.file.measure() for text in here.texts
    ]
    assert [*there.chunks()] == [*here.chunks()]
    assert "reading texts" in capsys.readouterr().err


def test_a_damaged_file_is_named_with_its_place(tmp_path, workers):
    place = write_texts(tmp_path, ".txt")
    (place / "1.txt").write_bytes(b"good\n\xff")
    with pytest.raises(DataError, match=rf"{re.escape(str(place / '1.txt'))} .*offset 5"):
        open_corpus("texts", tmp_path, tmp_path)


def test_bytes_are_those_of_the_disk(tmp_path):
    place = write_texts(tmp_path, ".txt")
    corpus = open_corpus("texts", tmp_path, tmp_path)
    size = sum(path.stat().st_size for path in place.iterdir())
    assert corpus.count_bytes() == size
    assert corpus.cut(0, corpus.count_characters() // 2, "half").count_bytes() == pytest.approx(
        size / 2, abs=1
    )
