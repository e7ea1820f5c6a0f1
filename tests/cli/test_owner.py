"""A run in the hands of its owner: edited, moved, on a disk or with a cache that only reads."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Outcome, train_in

Call = Callable[..., Outcome]


@pytest.fixture(scope="module")
def trained_on_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `text.txt`, `valid.txt` and the run `runs/own`; not to be changed."""
    place = tmp_path_factory.mktemp("project")
    (place / "text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 60)
    (place / "valid.txt").write_text("the lazy dog jumps over the quick brown fox\n" * 9)
    data = "  train: text.txt\n  valid: valid.txt"
    (place / "own.yaml").write_text(TINY.replace("  train: sample-english", data))
    train_in(place, "own.yaml")
    return place


@pytest.fixture
def project(call: Call, tmp_path: Path, trained_on_text: Path) -> Path:
    """The current directory, with a copy of the texts and the run."""
    shutil.copytree(trained_on_text, tmp_path, dirs_exist_ok=True)
    return tmp_path


def score(call: Call, *arguments: str | Path) -> float:
    outcome = call("evaluate", *arguments, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    return float(json.loads(outcome.stdout)["loss_nats_per_token"])


def test_generation_may_be_edited_and_is_used(call: Call, project: Path) -> None:
    config = project / "runs" / "own" / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("  length: 50\n", "  length: 3  # short\n"))
    outcome = call("generate", "runs/own", "--seed", "1", "--json")
    assert json.loads(outcome.stdout)["settings"]["length"] == 3
    config.write_text(text.replace("hidden_units: 8", "hidden_units: 9"))
    for command in ("generate", "evaluate"):
        outcome = call(command, "runs/own")
        assert outcome.exit_code == 5
        assert "model.hidden_units: 8 when the run was trained, 9 now" in outcome.stderr
        assert "Put the old values back" in outcome.stderr


def test_a_project_that_was_moved_is_the_same_project(
    call: Call, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = score(call, "runs/own")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("runs", "text.txt", "valid.txt"):
        (project / name).rename(elsewhere / name)
    assert score(call, elsewhere / "runs" / "own") == before
    outcome = call("train", elsewhere / "runs" / "own", "--resume", "--set", "training.max_steps=7")
    assert outcome.exit_code == 0, outcome.stderr


def test_a_run_moved_alone_is_told_where_its_text_is(
    call: Call, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = score(call, "runs/own")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    run = elsewhere / "deeper" / "still" / "own"
    shutil.copytree(project / "runs" / "own", run)
    assert score(call, run) == before  # its texts are in the current directory
    for name in ("text.txt", "valid.txt"):
        (project / name).rename(elsewhere / f"new-{name}")
    outcome = call("evaluate", run)
    assert outcome.exit_code == 4
    assert f"looked for {elsewhere}/deeper/valid.txt, as data.train" in outcome.stderr
    assert f"and for {project}/valid.txt" in outcome.stderr
    assert f"llm-timecycle evaluate {run} --set data.train=FILE" in outcome.stderr
    valid = f"data.valid={elsewhere}/new-valid.txt"
    assert score(call, run, "--set", valid) == before
    outcome = call("train", run, "--resume", "--set", "training.max_steps=7")
    assert outcome.exit_code == 4
    assert f"llm-timecycle train {run} --resume --set data.train=FILE" in outcome.stderr
    here = ["--set", f"data.train={elsewhere}/new-text.txt", "--set", valid]
    outcome = call("train", run, "--resume", "--set", "training.max_steps=7", *here)
    assert outcome.exit_code == 0, outcome.stderr
    assert score(call, run) != before  # it has learned the new places


def test_another_text_in_the_old_place_is_not_taken_for_the_old_one(
    call: Call, project: Path
) -> None:
    (project / "other.txt").write_text("something else\n" * 20)
    outcome = call("evaluate", "runs/own", "--set", "data.valid=other.txt")
    assert outcome.exit_code == 4
    assert "the valid text of runs/own has changed since the run was trained" in outcome.stderr


def test_evaluate_takes_no_settings_but_those_of_data(call: Call, project: Path) -> None:
    outcome = call("evaluate", "runs/own", "--set", "model.hidden_units=9")
    assert outcome.exit_code == 2
    assert "model.hidden_units cannot change" in outcome.stderr
    outcome = call("evaluate", "runs/own", "--set", "data.trian=x")
    assert outcome.exit_code == 3
    assert "did you mean train?" in outcome.stderr


def test_a_cache_that_cannot_be_written_to_is_no_obstacle_to_reading(
    call: Call, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where a directory is needed stands in for a read-only disk, for the superuser too."""
    before = score(call, "runs/own")
    (project / "file").touch()
    monkeypatch.setenv("LLM_TIMECYCLE_CACHE", str(project / "file" / "cache"))
    assert score(call, "runs/own") == before
    assert call("generate", "runs/own", "--length", "3").exit_code == 0


def test_training_that_cannot_write_says_so(
    call: Call, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "runs" / "own" / ".lock").unlink()
    (project / "runs" / "own" / ".lock").mkdir()  # stands in for a read-only disk
    outcome = call("train", "runs/own", "--resume", "--set", "training.max_steps=7")
    assert outcome.exit_code == 5
    assert "cannot lock runs/own" in outcome.stderr
    assert math.isfinite(score(call, "runs/own"))
