"""`train TEXT` and `config suggest TEXT`: from a text to settings with reasons, and to a run."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_timecycle.config.dump import read_comments
from llm_timecycle.config.load import read_settings
from llm_timecycle.runs.directory import open_run
from tests.cli.conftest import Outcome

Call = Callable[..., Outcome]
QUICK = (
    *("--set", "training.max_steps=2", "--set", "model.hidden_units=8"),
    *("--set", "training.precision=float32", "--set", "training.threads=1"),
    *("--set", "model.num_layers=1"),
)


@pytest.fixture(autouse=True)
def _texts(tmp_path: Path, _quick_timing: None) -> None:
    """A novel, and a machine that is timed in no time."""
    rng = random.Random(1)
    words = ["".join(rng.choices("etaoin", k=rng.randint(2, 7))) for _ in range(200)]
    lines = (" ".join(rng.choices(words, k=9)) for _ in range(400))
    (tmp_path / "novel.txt").write_text("\n".join(lines))


def test_a_text_becomes_a_run_whose_settings_say_why(call: Call, tmp_path: Path) -> None:
    outcome = call("train", "novel.txt", *QUICK)
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stdout == ""
    run = open_run(Path("runs/novel"))
    settings = run.settings
    assert settings.data.train == str(tmp_path / "novel.txt")
    assert (settings.tokenizer.level, settings.training.max_steps) == ("char", 2)
    assert (settings.model.hidden_units, settings.model.embedding_dim) == (8, 4)
    reasons = read_comments((run.path / "config.yaml").read_text(encoding="utf-8"))
    assert {"data.train", "tokenizer.level", "model.dropout", "generation.length"} <= reasons.keys()
    assert "model.hidden_units" not in reasons  # it was given
    for path, reason in reasons.items():
        assert f"{path}: " in outcome.stderr
        assert f"({reason})" in outcome.stderr
    assert "Next: llm-timecycle evaluate runs/novel" in outcome.stderr


def test_the_run_of_a_text_is_resumed_with_its_own_settings(call: Call) -> None:
    assert call("train", "novel.txt", *QUICK).exit_code == 0
    longer = ("--set", "training.max_steps=3")
    outcome = call("train", "novel.txt", "--resume", *longer)
    assert outcome.exit_code == 0, outcome.stderr
    assert "resuming after step 2 of 3" in outcome.stderr
    config = Path("runs/novel/config.yaml").read_text(encoding="utf-8")
    assert "tokenizer.level" in read_comments(config)  # still there


def test_a_run_that_exists_is_refused_before_anything_is_measured(call: Call) -> None:
    Path("runs/novel").mkdir(parents=True)
    outcome = call("train", "novel.txt")
    assert outcome.exit_code == 5
    assert "choose another directory with --run DIR" in outcome.stderr
    assert "tokenizer.level" not in outcome.stderr


def test_suggest_writes_a_file_that_trains(call: Call) -> None:
    outcome = call("config", "suggest", "novel.txt", "--minutes", "2.5", *QUICK[2:4])
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stdout == ""
    assert "Next: llm-timecycle train novel.yaml" in outcome.stderr
    assert "tokenizer.level: char (" in outcome.stderr
    assert call("config", "check", "novel.yaml").exit_code == 0
    settings = read_settings("novel.yaml").settings
    assert settings.model.hidden_units == 8
    assert "model.dropout" in read_comments(Path("novel.yaml").read_text(encoding="utf-8"))
    assert call("train", "novel.yaml", *QUICK).exit_code == 0


def test_minutes_are_the_budget_of_a_text_that_fills_them(call: Call) -> None:
    fixed = ("--set", "model.hidden_units=4096")
    outcome = call("config", "suggest", "novel.txt", "--minutes", "0.5", *fixed)
    assert outcome.exit_code == 0, outcome.stderr
    assert read_settings("novel.yaml").settings.training.minutes == 0.5


def test_suggest_replaces_a_file_only_with_force(call: Call) -> None:
    Path("mine.yaml").write_text("mine")
    arguments = ("config", "suggest", "novel.txt", "--output", "mine.yaml")
    outcome = call(*arguments)
    assert outcome.exit_code == 2
    assert "mine.yaml exists already" in outcome.stderr
    assert Path("mine.yaml").read_text() == "mine"
    assert call(*arguments, "--force").exit_code == 0
    assert call("config", "check", "mine.yaml").exit_code == 0


def test_what_is_given_steers_the_choices(call: Call) -> None:
    outcome = call("config", "suggest", "novel.txt", "--set", "tokenizer.level=word")
    assert outcome.exit_code == 0, outcome.stderr
    settings = read_settings("novel.yaml").settings
    assert (settings.tokenizer.level, settings.tokenizer.word_split) == ("word", "unicode")
    assert settings.model.tie_embeddings
    assert settings.training.sequence_length <= 16


@pytest.mark.parametrize(
    ("arguments", "exit_code", "parts"),
    [
        (("train", "nvel.txt"), 4, ["there is no file", "Did you mean novel.txt?"]),
        (("train", "novel"), 3, ["Did you mean the text novel.txt?"]),
        (("train", "empty.txt"), 4, ["empty.txt is empty; expected text"]),
        (("train", "blank.txt"), 4, ["blank.txt holds nothing but white space"]),
        (("train", "short.txt"), 4, ["short.txt is too short", "has 30 characters; expected"]),
        (("train", "binary.txt"), 4, ["binary.txt is not UTF-8", "offset 0"]),
        (("train", "nothing"), 4, ["nothing has no text; expected files that end in .txt"]),
        (("train", "*.text"), 2, ["gives the run no name", "--run DIR"]),
        (("train", "*.text", "--run", "r"), 4, ["matches no file"]),
        (("config", "suggest", "*.txt"), 2, ["gives the file no name", "--output FILE"]),
        (("config", "suggest", "nvel.txt"), 4, ["there is no file", "novel.txt"]),
        (("train", "novel.txt", "--minutes", "0"), 3, ["training.minutes: received 0"]),
        (("train", "novel.txt", "--set", "training.epoch=3"), 3, ["did you mean epochs?"]),
        (("train", "novel.txt", "--resume"), 5, ["no run at runs/novel"]),
    ],
)
def test_mistakes(call: Call, arguments: tuple[str, ...], exit_code: int, parts: list[str]) -> None:
    Path("nothing").mkdir()
    contents = {
        "empty": b"",
        "blank": b"\n \n" * 300,
        "short": b"so short a text, ten words\n\n\n\n",
    }
    for name, content in {**contents, "binary": b"\xff\x00" * 999}.items():
        Path(f"{name}.txt").write_bytes(content)
    outcome = call(*arguments)
    assert outcome.exit_code == exit_code, outcome.stderr
    assert [part for part in parts if part not in outcome.stderr] == []
