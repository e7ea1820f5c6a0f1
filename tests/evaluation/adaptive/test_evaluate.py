"""`lt.evaluate` with memory: beside the plain score, tuned on the validation text alone."""

from __future__ import annotations

import hashlib
import math
import random
from pathlib import Path

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

import llm_timecycle as lt
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import DataError
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.prepare import prepare_text
from tests.json_keys import list_keys


def write_text(seed: int, sentences: int) -> str:
    """Lines that come again and again, in any order."""
    draw = random.Random(seed)
    lines = ["".join(draw.choices("abcdefgh ", k=30)) for _ in range(6)]
    return "".join(f"{draw.choice(lines)}\n" for _ in range(sentences))


def make_run(place: Path) -> Run:
    """A run of characters with drawn weights, on texts that repeat themselves."""
    for name, (seed, sentences) in {"train": (1, 40), "valid": (2, 12), "test": (3, 8)}.items():
        (place / f"{name}.txt").write_text(write_text(seed, sentences))
    settings = Settings.model_validate(
        {
            "data": {name: str(place / f"{name}.txt") for name in ("train", "valid", "test")},
            "tokenizer": {"level": "char"},
            "model": {"embedding_dim": 3, "hidden_units": 8, "num_layers": 1},
        }
    )
    text = prepare_text(settings, place, place / "cache", False)
    streams = {"train": text.train, "valid": text.valid, "test": text.test}
    corpora = {
        name: {"sha256": stream.corpus_sha256}
        for name, stream in streams.items()
        if stream is not None
    }
    V = text.tokenizer.vocab_size
    run = create_run(place / "run", settings, text.tokenizer.to_json().encode(), V, corpora)
    rng = np.random.default_rng(5)
    shapes = compute_parameter_shapes(settings.model, V)
    run.save_weights(
        {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}, {}
    )
    return run


def test_scores_with_memory_stand_beside_the_plain_one(
    tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    run = make_run(tmp_path)
    before = hashlib.sha256((run.path / "model.safetensors").read_bytes()).hexdigest()
    plain = lt.evaluate(run.path, split="test", show_progress=False)
    result = lt.evaluate(
        run.path, split="test", cache=True, dynamic=True, samples=2, show_progress=False
    )
    assert sorted(list_keys(result.to_dict())) == snapshot
    assert hashlib.sha256((run.path / "model.safetensors").read_bytes()).hexdigest() == before
    assert result.loss_nats_per_token == plain.loss_nats_per_token
    assert plain.cache is plain.dynamic is plain.cache_and_dynamic is None
    cache, dynamic, both = result.cache, result.dynamic, result.cache_and_dynamic
    assert cache is not None
    assert dynamic is not None
    assert both is not None
    assert cache.perplexity < 0.8 * plain.perplexity
    assert dynamic.perplexity < plain.perplexity
    assert both.perplexity < dynamic.perplexity
    valid_tokens = len((tmp_path / "valid.txt").read_text())
    for score in (cache, dynamic, both):
        assert score.perplexity == pytest.approx(math.exp(score.loss_nats_per_token))
        assert score.tuned_tokens == valid_tokens  # all but the first, and an <eos>
        assert score.ms_per_token > 0
        losses = [trial.loss_nats_per_token for trial in score.trials]
        chosen = [t for t in score.trials if t.settings.items() <= score.settings.items()]
        assert [trial.loss_nats_per_token for trial in chosen] == [min(losses)]
    assert cache.settings.keys() == {"window", "theta", "weight"}
    assert dynamic.settings["segment"] == 20
    assert dynamic.method == "1 lane, segments of 20 tokens"
    shown = str(result)
    assert f"\ncache perplexity        {cache.perplexity:>16,.4f}\n" in shown
    assert f"tuned on {valid_tokens:,} tokens\n" in shown
    assert "\nboth ms per token" in shown


def test_what_is_tuned_on_must_be_there(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (tmp_path / "train.txt").rename(tmp_path / "moved.txt")
    with pytest.raises(
        DataError, match=r"measures gradients on the training text, and .*not found"
    ):
        lt.evaluate(run.path, split="test", dynamic=True, show_progress=False)
    moved = {"data.train": str(tmp_path / "moved.txt")}
    result = lt.evaluate(run.path, cache=True, settings=moved, show_progress=False)
    assert result.cache is not None
    (tmp_path / "valid.txt").unlink()
    with pytest.raises(DataError, match=r"is tuned on the validation text, and .*not found"):
        lt.evaluate(
            run.path, tmp_path / "test.txt", cache=True, settings=moved, show_progress=False
        )
