"""Nothing of a run changes under a command that is refused: every byte is compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_timecycle.runs.directory import open_run
from llm_timecycle.sealed_json import read_sealed, write_sealed
from tests.cli.conftest import Outcome
from tests.cli.test_bad_input import expect_refusal

Call = Callable[..., Outcome]
RESUME = ("train", "runs/tiny", "--resume", "--set", "training.max_steps=12")


def flip(name: str, place: int = -1) -> Callable[[Path], None]:
    """Change a bit of a file."""

    def change(run: Path) -> None:
        content = bytearray((run / name).read_bytes())
        content[place] ^= 1
        (run / name).write_bytes(content)

    return change


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Change words of a file."""

    def change(run: Path) -> None:
        content = (run / name).read_text(encoding="utf-8")
        assert old in content
        (run / name).write_text(content.replace(old, new, 1), encoding="utf-8")

    return change


def link(name: str) -> Callable[[Path], None]:
    """Put a link to another file in the place of one."""

    def change(run: Path) -> None:
        (run.parent / "mine.txt").write_text("kept")
        (run / name).unlink()
        (run / name).symlink_to(run.parent / "mine.txt")

    return change


def occupy(name: str) -> Callable[[Path], None]:
    """Put a file in the place of a directory."""

    def change(run: Path) -> None:
        shutil.rmtree(run / name)
        (run / name).write_text("x")

    return change


def make_foreign(run: Path) -> None:
    """Make the checkpoint one of a run that was trained with another seed."""
    state = read_sealed((run / STATE).read_bytes())
    assert state["identity"] == open_run(run).read_identity()
    (run / STATE).write_bytes(write_sealed(state | {"identity": "0" * 64}))


def name_columns_otherwise(run: Path) -> None:
    """Write a log that its manifest describes, and that the end of a training could not read."""
    replace("metrics.csv", "input_s", "output")(run)
    open_run(run).record_logs()


TENSORS, STATE = (f"checkpoints/step-6/{name}" for name in ("tensors.safetensors", "state.json"))
DAMAGED: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "tensors of the checkpoint": (flip(TENSORS), 5, "was changed or damaged"),
    "state of the checkpoint": (replace(STATE, '"step": 6', '"step": 4'), 5, "was changed"),
    "a cut state": (lambda run: (run / STATE).write_text("{"), 5, "Delete"),
    "a checkpoint of another run": (make_foreign, 5, "belongs to another run"),
    "best weights": (flip("model.safetensors"), 5, "model.safetensors is not what"),
    "no best weights": (lambda run: (run / "model.safetensors").unlink(), 5, "model.safetensors"),
    "metrics": (flip("metrics.csv", 3), 5, "metrics.csv is not what"),
    "columns of metrics": (name_columns_otherwise, 5, "metrics.csv cannot be read: no column"),
    "tokenizer": (flip("tokenizer.json", 3), 5, "tokenizer.json is not what"),
    "manifest": (replace("manifest.json", '"step": 6', '"step": 7'), 5, "manifest.json"),
    "an edited setting": (replace("config.yaml", "hidden_units: 8", "hidden_units: 9"), 5, "edit"),
    "no checkpoints": (lambda run: shutil.rmtree(run / "checkpoints"), 5, "checkpoints is missing"),
    "a link for samples": (link("samples.txt"), 5, "samples.txt"),
    "a file for a checkpoint": (occupy("checkpoints/step-6"), 5, "step-6 is a file"),
}
REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "a new size": ((*RESUME, "--set", "model.hidden_units=16"), 3, "model.hidden_units"),
    "a new seed": ((*RESUME, "--set", "training.seed=9"), 3, "training.seed"),
    "a wrong key": ((*RESUME, "--set", "training.wrong=9"), 3, "training.wrong"),
    "another text": ((*RESUME, "--set", "data.train=other.txt"), 4, "text has changed"),
    "a missing text": ((*RESUME, "--set", "data.train=none.txt"), 4, "none.txt"),
    "a run that is there": (("train", "tiny.yaml", "--run", "runs/tiny"), 5, "exists already"),
    "no prompt file": (("generate", "runs/tiny", "--prompt-file", "none.txt"), 4, "none.txt"),
    "a wrong option": (("generate", "runs/tiny", "--temperature", "-1"), 2, "temperature"),
    "no text to score": (("evaluate", "runs/tiny", "--data", "none.txt"), 4, "none.txt"),
}


def read_all(directory: Path) -> dict[str, object]:
    """Every byte below a directory, links as what they name; only the lock may come."""
    return {
        str(path.relative_to(directory)): (
            path.readlink()
            if path.is_symlink()
            else path.read_bytes() if path.is_file() else path.stat().st_mode
        )
        for path in directory.rglob("*")
        if path.name != ".lock"
    }  # fmt: skip


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of a trained run, at `runs/tiny`."""
    shutil.copytree(trained / "runs" / "tiny", tmp_path / "runs" / "tiny")
    return tmp_path / "runs" / "tiny"


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_run_is_not_resumed_and_not_changed(call: Call, copy: Path, case: str) -> None:
    damage, exit_code, message = DAMAGED[case]
    damage(copy)
    before = read_all(copy.parent)
    expect_refusal(call(*RESUME), exit_code, message)
    assert read_all(copy.parent) == before


@pytest.mark.parametrize("case", REFUSED)
def test_a_command_that_is_refused_changes_nothing(
    call: Call, copy: Path, tmp_path: Path, case: str
) -> None:
    (tmp_path / "other.txt").write_text("Another text. " * 3000)
    arguments, exit_code, message = REFUSED[case]
    before = read_all(copy.parent)
    expect_refusal(call(*arguments), exit_code, message)
    assert read_all(copy.parent) == before


def test_a_run_in_use_is_not_changed(call: Call, copy: Path) -> None:
    before = read_all(copy.parent)
    with open_run(copy).lock():
        expect_refusal(call(*RESUME), 5, "another process")
    assert read_all(copy.parent) == before


def test_a_resume_that_is_not_refused_changes_it(call: Call, copy: Path) -> None:
    """The comparison sees what changes."""
    before = read_all(copy.parent)
    assert call(*RESUME).exit_code == 0
    changed = {
        name for name, content in read_all(copy.parent).items() if before.get(name) != content
    }
    assert {"tiny/config.yaml", "tiny/manifest.json", "tiny/metrics.csv"} <= changed
