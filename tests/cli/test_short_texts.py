"""Short texts: one message with one command, which works; and the settings that are proposed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_timecycle.cli.train import _write_call
from tests.cli.conftest import Outcome

pytestmark = pytest.mark.usefixtures("_quick_timing")

Call = Callable[..., Outcome]

SMALL = """\
data: {valid_fraction: 0.1}
tokenizer: {level: char}
model: {embedding_dim: 4, hidden_units: 8, num_layers: 1}
training: {batch_size: 16, sequence_length: 32, epochs: 2, patience: 4, precision: float32,
           threads: 1}
"""
LINES = "".join(f"The {word} ferryman counted pears.\n" for word in ("old", "wet", "blue") * 9)


def read_command(message: str) -> list[str]:
    """The words of the command that a message names, without the name of the program."""
    assert message.count("Error:") == 1
    (command,) = re.findall(r"train on it with: llm-timecycle (.*)$", message.rstrip())
    return shlex.split(command)


@pytest.mark.parametrize(
    ("level", "text", "parts"),
    [
        ("char", LINES[:300], ["a b.txt is too short", "takes 513 tokens"]),
        ("char", "one line only, and not a long one", ["a b.txt is too short"]),
        ("subword", "abc", ["a b.txt is too short"]),
    ],
)
def test_one_message_names_one_command_that_works(
    call: Call, tmp_path: Path, level: str, text: str, parts: list[str]
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "a b.txt").write_text(text)
    options = ("--set", "data.train=a b.txt", "--run", "runs/a b")
    outcome = call("train", "small.yaml", *options, "--set", f"tokenizer.level={level}")
    assert outcome.exit_code == 4
    assert [part for part in parts if part not in outcome.stderr] == []
    assert not Path("runs/a b").exists()
    again = call(*read_command(outcome.stderr))
    assert again.exit_code == 0, again.stderr
    assert Path("runs/a b/model.safetensors").exists()


def test_a_text_with_nothing_to_predict_is_refused_without_a_command(
    call: Call, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "a.txt").write_text("\n")
    outcome = call("train", "small.yaml", *("--set", "data.train=a.txt"), *WORDS)
    assert outcome.exit_code == 4
    assert outcome.stderr.rstrip().endswith("Use a longer text")


WORDS = ("--set", "tokenizer.level=word")
QUICK = (
    *("--set", "model.hidden_units=8", "--set", "training.epochs=2"),
    *("--set", "training.precision=float32", "--set", "training.threads=1"),
    *("--set", "model.num_layers=1"),
)


@pytest.mark.parametrize(
    ("length", "given"),
    [
        (2000, ()),
        (500, WORDS),
        (500, ("--set", "tokenizer.level=subword")),
        (500, ("--set", "training.vary_sequence_length=true")),
    ],
)
def test_a_short_text_trains_with_what_is_proposed(
    call: Call, tmp_path: Path, length: int, given: tuple[str, ...]
) -> None:
    (tmp_path / "short.txt").write_text((LINES * 3)[:length])
    outcome = call("train", "short.txt", *QUICK, *given)
    assert outcome.exit_code == 0, outcome.stderr


@pytest.mark.parametrize("texts", [("a", "b"), (LINES, "x")])
def test_two_documents_train_however_short(
    call: Call, tmp_path: Path, texts: tuple[str, str]
) -> None:
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / "texts" / f"{number}.txt").write_text(text)
    outcome = call("train", "texts", *QUICK)
    assert outcome.exit_code == 0, outcome.stderr


def test_a_shorter_one_is_refused_once_with_the_reason(call: Call, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text(LINES[:499])
    outcome = call("train", "short.txt")
    assert outcome.exit_code == 4
    assert "short.txt is too short" in outcome.stderr
    assert "it has 499 characters; expected at least 500, or several documents" in outcome.stderr
    assert len(outcome.stderr.strip().splitlines()) == 1


def test_the_command_repeats_what_was_asked() -> None:
    options = {"--minutes": 0.5, "--run": None, "--from": Path("a b"), "--extend-vocabulary": True}
    assert _write_call("my.txt", ("model.num_layers=1",), options) == (
        "llm-timecycle train my.txt --set model.num_layers=1 --minutes 0.5 --from 'a b' "
        "--extend-vocabulary"
    )
    assert _write_call("my.txt", (), {"--extend-vocabulary": False}) == "llm-timecycle train my.txt"
