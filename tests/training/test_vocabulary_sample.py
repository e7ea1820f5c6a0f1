"""What the manifest of a run says about the sample that its vocabulary was learned from."""

from __future__ import annotations

import pytest

from llm_timecycle.config.settings import Settings
from llm_timecycle.runs.entries import _Corpus as StoredCorpus
from llm_timecycle.runs.entries import check_model
from llm_timecycle.text import prepare
from llm_timecycle.text.shards.sampling import draw_sample
from llm_timecycle.training.starting.resuming import describe_text


@pytest.mark.parametrize("is_sampled", [True, False])
def test_the_sample_is_in_the_manifest(tmp_path, monkeypatch, is_sampled):
    (tmp_path / "my.txt").write_text("".join(f"line {n} of the text\n" for n in range(300)))
    monkeypatch.setattr(prepare, "SAMPLE_CHARACTERS", 1000 if is_sampled else 100_000)
    monkeypatch.setattr(prepare, "draw_sample", lambda corpus, n: draw_sample(corpus, n, pieces=5))
    settings = Settings.model_validate(
        {"data": {"train": "my.txt"}, "tokenizer": {"level": "char"}}
    )
    text = prepare.prepare_text(settings, tmp_path, tmp_path / "cache", False)
    entry = describe_text(text)["train"]
    check_model(StoredCorpus, entry)
    if is_sampled:
        sample = entry["vocabulary_sample"]
        assert sample["characters"] == 1000
        assert sample["rule"].startswith("5 pieces of 200 characters; piece k begins at character")
        assert text.sample is not None
        assert sample["sha256"] == text.sample.sha256()
    else:
        assert "vocabulary_sample" not in entry
