"""The benchmark of large corpora, in a short form: a real kill -9, and the same store after it."""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[1] / "scripts" / "bench"
KINDS_OF_WORDS = 20_000


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, sampling often."""
    monkeypatch.syspath_prepend(BENCH)
    import corpus as module

    monkeypatch.setattr(module, "SECONDS_BETWEEN_SAMPLES", 0.01)
    yield module
    for name in ("corpus", "corpus_texts", "encoding", "encoding_texts"):
        sys.modules.pop(name, None)


def read_stores(cache: Path) -> dict[tuple[str, str], bytes]:
    return {
        (path.parent.name, path.name): path.read_bytes() for path in cache.glob("tokens/[!.]*/*")
    }


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_killed_process_is_gone_on_with(tmp_path, corpus, monkeypatch):
    import corpus_texts

    texts = tmp_path / "texts"
    texts.mkdir()
    pieces = corpus_texts.draw_pieces(KINDS_OF_WORDS, 3)
    for number, kind in enumerate(["txt", "txt.zst", "txt"]):
        corpus_texts.write_file(texts / f"{number}.{kind}", number, 1_000_000, [pieces[number]])
    arguments = argparse.Namespace(
        megabytes=3, level="word", documents="file", kill_at=0.0, shard_characters=250_000
    )
    killed, gone_on_with = islice(corpus.measure_killed(arguments, texts, tmp_path), 2)
    assert killed["run"] == "killed"
    assert 250_000 <= killed["encoded_characters"] < 3_000_000
    assert gone_on_with["run"] == "gone on with"
    assert gone_on_with["text_mb"] == 3.0
    assert min(killed["peak_mb"], gone_on_with["peak_mb"]) > 10
    monkeypatch.setattr("llm_timecycle.text.prepare.SHARD_CHARACTERS", 1)  # restored afterwards
    arguments.shard_characters = 1 << 26
    corpus.prepare(texts, tmp_path / "other", arguments)
    assert read_stores(tmp_path / "cache") == read_stores(tmp_path / "other")
    assert len(read_stores(tmp_path / "cache")) == 8  # two stores of four files
