"""`demo`: three commands, each printed before it runs, and each works again when pasted."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from llm_timecycle.cli.demo import choose_run_path, name_program
from tests.cli.conftest import Outcome

Call = Callable[..., Outcome]
TINY_OPTIONS = (
    *("--set", "data.train=sample-english", "--set", "tokenizer.level=char"),
    *("--set", "model.embedding_dim=4", "--set", "model.hidden_units=8"),
    *("--set", "training.batch_size=8", "--set", "training.sequence_length=16"),
    *("--set", "training.max_steps=2", "--set", "training.precision=float32"),
)


def test_it_trains_scores_and_writes_and_its_commands_can_be_repeated(
    call: Call, tmp_path: Path
) -> None:
    outcome = call("demo", *TINY_OPTIONS)
    assert outcome.exit_code == 0, outcome.stderr
    assert (tmp_path / "runs/demo/model.safetensors").exists()
    assert outcome.stdout.startswith("split ")
    table, prompt, text = outcome.stdout.partition("The function returns")
    assert "bits per character" in table
    assert prompt
    assert len(text) > 40
    commands = [
        shlex.split(line.removeprefix("$ "))
        for line in outcome.stderr.splitlines()
        if line.startswith("$ ")
    ]
    assert [words[:2] for words in commands] == [
        ["llm-timecycle", "train"],
        ["llm-timecycle", "evaluate"],
        ["llm-timecycle", "generate"],
    ]
    again = call(*commands[2][1:])
    assert outcome.stdout.endswith(again.stdout)


def test_a_directory_that_exists_is_left_alone(call: Call, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    outcome = call("demo", "--run", "taken", *TINY_OPTIONS)
    assert outcome.exit_code == 5
    assert "taken exists already" in outcome.stderr
    assert list((tmp_path / "taken").iterdir()) == []


def test_a_second_demo_gets_a_directory_with_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    now = datetime(2026, 1, 2, 3, 4, 5)
    assert choose_run_path(now) == Path("runs/demo")
    Path("runs/demo").mkdir(parents=True)
    assert choose_run_path(now) == Path("runs/demo-20260102-030405")


def test_commands_call_the_program_as_the_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert name_program(".venv/bin/llm-timecycle") == ".venv/bin/llm-timecycle"
    assert name_program("/x y/llm-timecycle") == "'/x y/llm-timecycle'"
    assert name_program("/lib/llm_timecycle/__main__.py") == "llm-timecycle"
    (tmp_path / "llm-timecycle").write_text("#!/bin/sh\n")
    (tmp_path / "llm-timecycle").chmod(0o755)
    assert name_program(".venv/bin/llm-timecycle") == "llm-timecycle"
