"""`demo`: commands, each printed before it runs, each of which works again when pasted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from llm_timecycle.cli.demo import choose_run_path, compare_scores, name_program
from tests.cli.conftest import Outcome

pytestmark = pytest.mark.usefixtures("_quick_timing")

Call = Callable[..., Outcome]
TINY_OPTIONS = (
    *("--set", "data.train=sample-english", "--set", "tokenizer.level=char"),
    *("--set", "model.embedding_dim=4", "--set", "model.hidden_units=8"),
    *("--set", "training.batch_size=8", "--set", "training.sequence_length=16"),
    *("--set", "training.max_steps=2", "--set", "training.precision=float32"),
    *("--set", "training.threads=1", "--set", "model.num_layers=1"),
)


def test_it_shows_trains_writes_scores_and_compares(call: Call, tmp_path: Path) -> None:
    outcome = call("demo", *TINY_OPTIONS)
    assert outcome.exit_code == 0, outcome.stderr
    assert (tmp_path / "runs/demo/model.safetensors").exists()
    commands = [
        shlex.split(line.removeprefix("$ "))
        for line in outcome.stderr.splitlines()
        if line.startswith("$ ")
    ]
    assert [words[:3] for words in commands] == [
        ["llm-timecycle", "generate", "demo"],
        ["llm-timecycle", "generate", "demo-zh"],
        ["llm-timecycle", "train", "sample-english"],
        ["llm-timecycle", "generate", "runs/demo"],
        ["llm-timecycle", "evaluate", "runs/demo"],
        ["llm-timecycle", "evaluate", "demo"],
    ]
    printed = outcome.stdout
    for command in (*commands[:2], commands[3]):
        again = call(*command[1:]).stdout
        assert printed.startswith(again)
        printed = printed.removeprefix(again)
    tables, _, comparison = printed.rstrip("\n").rpartition("\n")
    assert [line[:6] for line in tables.splitlines()].count("split ") == 2
    assert re.fullmatch(
        r"On the same text, runs/demo is worse than demo: \d\.\d\d and \d\.\d\d bits per "
        r"character \(lower is better\)\.",
        comparison,
    )


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (2.126, 1.5, "my is worse than demo: 2.13 and 1.50 bits"),
        (1.496, 1.504, "my is as good as demo: 1.50 and 1.50 bits"),
        (1.4, 1.5, "my is better than demo: 1.40 and 1.50 bits"),
        (None, 1.5, "different texts: do not compare"),
    ],
)
def test_scores_are_compared_by_bits(new: float | None, old: float, expected: str) -> None:
    scores = [SimpleNamespace(bits_per_character_with_spelling=bits) for bits in (new, old)]
    assert expected in compare_scores("my", *scores, same_text=True)
    assert "different texts" in compare_scores("my", *scores, same_text=False)


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
