"""Text that was copied from the training text is named where it is trained on and scored."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_timecycle.training import session
from tests.cli.conftest import TINY, Outcome


def write_lines(seed: int) -> str:
    """Lines of made-up words, no two alike."""
    draw = random.Random(seed)
    lines = (" ".join("".join(draw.choices("abcdefgh", k=4)) for _ in range(15)) for _ in range(80))
    return "\n".join(lines) + "\n"


def test_a_copy_is_named_when_training_and_when_scoring(
    call: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "COPIES_FROM_S", 0.0)
    training, new = write_lines(1), write_lines(2)
    for name, text in {"a": training, "b": new, "copy": training[300:3300]}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    own = TINY.replace("sample-english", "a.txt\n  valid: copy.txt\n  test: b.txt")
    (tmp_path / "own.yaml").write_text(own)
    outcome = call("train", "own.yaml")
    assert outcome.exit_code == 0
    said = "100 % of the validation text occurs word for word in the training text"
    assert outcome.stderr.count(said) == 1
    assert "test text occurs" not in outcome.stderr
    assert "\nOf 5 new texts, 0.0 % of the 40-grams stand in the training text" in outcome.stderr

    outcome = call("evaluate", "runs/own", "--data", "a.txt", "--json")
    assert json.loads(outcome.stdout)["share_in_training_text"] == 1.0
    assert "100 % of the text scored (a.txt) occurs word for word" in outcome.stderr
    outcome = call("evaluate", "runs/own", "--split", "test", "--json")
    assert json.loads(outcome.stdout)["share_in_training_text"] == 0.0
    assert "word for word" not in outcome.stderr
