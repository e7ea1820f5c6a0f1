"""What `train` says at its end about the course of the training: one real run for each finding."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import llm_timecycle as lt
from tests.cli.conftest import Outcome

Call = Callable[..., Outcome]

TINY = """\
data: {train: text.txt, valid_fraction: 0.2, test_fraction: 0}
tokenizer: {level: char}
model: {embedding_dim: 16, hidden_units: 48, num_layers: 1, dropout: 0.1}
training: {batch_size: 8, sequence_length: 16, epochs: 12, precision: float32, schedule: constant,
           threads: 1}
"""


@pytest.fixture
def text(tmp_path: Path) -> None:
    """A text with something to learn, and as much again that can only be learned by heart."""
    rng = random.Random(1)
    words = ["".join(rng.choices("etaoinshr", k=5)) for _ in range(40)]
    lines = (" ".join(rng.choices(words, k=6)) for _ in range(90))
    (tmp_path / "text.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "own.yaml").write_text(TINY)


def train(call: Call, *overrides: str) -> str:
    """What was said after a training; the line with the advice follows that of the times."""
    options = [word for override in overrides for word in ("--set", override)]
    outcome = call("train", "own.yaml", *options)
    assert outcome.exit_code == 0, outcome.stderr
    return outcome.stderr[outcome.stderr.index("Trained ") :]


@pytest.mark.usefixtures("text")
def test_one_that_is_still_improving_names_a_command_that_works(call: Call) -> None:
    said = train(call, "training.learning_rate=0.002", "training.epochs=6")
    assert "Validation was still improving: twice the training would lower" in said
    (command,) = re.findall(r" %: llm-timecycle (.*)", said)
    assert command == "train runs/own --resume --set training.epochs=12"
    again = call(*shlex.split(command))
    assert again.exit_code == 0, again.stderr
    assert "resuming after step" in again.stderr


@pytest.mark.usefixtures("text")
def test_one_that_learned_by_heart_says_which_step_is_kept(call: Call) -> None:
    said = train(call, "training.learning_rate=0.03", "training.epochs=15", "model.dropout=0")
    (kept,) = re.findall(r"best weights are those of step (\S+)\.", said)
    assert f"learned by heart; the weights of step {kept} are kept. Try more model.dropout" in said


def test_one_that_fits_its_training_text_alone_wants_more_of_it(call: Call, tmp_path: Path) -> None:
    rng = random.Random(1)
    (tmp_path / "text.txt").write_text("".join(rng.choices("etaoinshr", k=600)))
    (tmp_path / "own.yaml").write_text(TINY)
    said = train(call, "training.learning_rate=0.1", "training.epochs=20", "model.dropout=0")
    assert "worse than guessing by token frequency" in said
    assert "Train on more text, or a smaller model." in said
    assert "learning_rate" not in said


@pytest.mark.usefixtures("text")
def test_one_that_is_worse_than_guessing_blames_the_rate(call: Call) -> None:
    said = train(call, "training.learning_rate=3", "training.epochs=3")
    assert "worse than guessing by token frequency" in said
    assert "lower training.learning_rate (now 3; the default is 0.016)" in said


def test_in_python_the_advice_is_part_of_the_result(
    call: Call, text: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = lt.train(
        "own.yaml",
        training={"learning_rate": 0.002, "epochs": 6},
        show_progress=False,
    )
    assert result.advice is not None
    assert result.advice.endswith(": resume it with training.epochs=12")
    assert str(result).endswith(result.advice)
    assert f"<p>{result.advice}</p>" in result._repr_html_()
    assert "--" not in result.advice


@pytest.mark.usefixtures("text")
@pytest.mark.parametrize(
    "settings", [("data.valid_fraction=0", "training.epochs=4"), ("training.epochs=2",)]
)
def test_where_little_is_known_nothing_is_said(call: Call, settings: tuple[str, ...]) -> None:
    said = train(call, *settings)
    lines = said.splitlines()
    (next_step,) = (n for n, line in enumerate(lines) if line.startswith("Next: "))
    assert next_step == 3  # after the line of steps, and the bar with its legend
