"""Held-out text that was copied from the training text is named, at training and at evaluation."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import pytest

import llm_timecycle as lt
from llm_timecycle.config.settings import ModelSettings, Settings, TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.evaluation.leakage import describe_leakage
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.learned import SHINGLES, write_learned
from llm_timecycle.text.prepare import PreparedText, prepare_text

MODEL = ModelSettings(embedding_dim=2, hidden_units=3, num_layers=1)


def write_lines(seed: int, lines: int) -> list[str]:
    """Lines of made-up words, no two alike."""
    draw = random.Random(seed)
    return [
        " ".join("".join(draw.choices("abcdefghij", k=5)) for _ in range(12)) + "\n"
        for _ in range(lines)
    ]


TRAINING = write_lines(1, 300)
FRESH = write_lines(2, 100)


def prepare(place: Path, valid: list[str], test: list[str] = FRESH) -> PreparedText:
    """The texts prepared from files."""
    files = {"train": TRAINING, "valid": valid, "test": test}
    for name, lines in files.items():
        (place / f"{name}.txt").write_text("".join(lines))
    settings = Settings.model_validate(
        {
            "data": {name: f"{name}.txt" for name in files},
            "tokenizer": {"level": "char"},
        }
    )
    return prepare_text(settings, place, place / "cache", False)


@pytest.mark.parametrize("copied", [0, 30])
def test_of_some_copies_nothing_is_said(tmp_path: Path, copied: int) -> None:
    text = prepare(tmp_path, TRAINING[50 : 50 + copied] + FRESH[copied:])
    assert describe_leakage(text) is None


@pytest.mark.parametrize(("copied", "share"), [(60, "60 %"), (100, "100 %")])
def test_of_many_copies_the_share_is_told(tmp_path: Path, copied: int, share: str) -> None:
    message = describe_leakage(prepare(tmp_path, TRAINING[50 : 50 + copied] + FRESH[copied:]))
    assert message is not None
    assert message.startswith(f"{share} of the validation text occurs word for word in the train")
    assert "set data.valid and data.test to other texts" in message


def test_both_texts_are_named(tmp_path: Path) -> None:
    message = describe_leakage(prepare(tmp_path, TRAINING[:100], TRAINING[100:200]))
    assert message is not None
    assert "of the validation text and 100 % of the test text occur word for word" in message


def test_a_text_from_the_cache_is_found_too(tmp_path: Path) -> None:
    first = describe_leakage(prepare(tmp_path, TRAINING[:100]))
    assert first is not None
    assert describe_leakage(prepare(tmp_path, TRAINING[:100])) == first


def test_evaluate_says_when_it_scores_what_the_run_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    text = prepare(tmp_path, FRESH)
    V = text.tokenizer.vocab_size
    settings = Settings(tokenizer=TokenizerSettings(level="char"), model=MODEL)
    run = create_run(
        tmp_path / "run",
        settings,
        text.tokenizer.to_json().encode(),
        V,
        {},
        learned=write_learned(text),
    )
    shapes = compute_parameter_shapes(MODEL, V)
    run.save_weights({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, {})
    moved = run.path.rename(tmp_path / "moved")
    for name in ("train", "valid"):
        (tmp_path / f"{name}.txt").rename(tmp_path / f"elsewhere-{name}.txt")
    with caplog.at_level(logging.WARNING, "llm_timecycle"):
        result = lt.evaluate(moved, "elsewhere-valid.txt", show_progress=False)
        assert result.share_in_training_text == 0.0
        assert "word for word" not in caplog.text
        result = lt.evaluate(moved, "elsewhere-train.txt", show_progress=False)
    assert result.share_in_training_text == 1.0
    assert "100 % of the text scored (elsewhere-train.txt) occurs word for word" in caplog.text
    assert "how well the model memorized" in caplog.text

    (moved / SHINGLES).write_bytes(b"x")
    with pytest.raises(lt.errors.RunError, match=f"{SHINGLES} is not what the manifest says"):
        lt.evaluate(moved, "elsewhere-valid.txt", show_progress=False)
