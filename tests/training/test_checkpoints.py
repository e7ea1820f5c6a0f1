"""Checkpoints: whole or absent, newest kept, damage and strangers refused."""

from __future__ import annotations

import errno
import json
import math
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_timecycle.errors import RunError
from llm_timecycle.sealed_json import read_sealed, write_sealed
from llm_timecycle.training import checkpoints
from llm_timecycle.training.checkpoints import (
    Checkpoint,
    list_checkpoints,
    read_newest_checkpoint,
    write_checkpoint,
)
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.schedules import Plan

SHAPES = {"weights.a": (2, 3), "random.b": (2,), "optimizer.iteration": ()}


def make(step: int) -> Checkpoint:
    tensors = {
        "weights.a": np.full((2, 3), step, np.float32),
        "random.b": np.array([7, step], np.int64),
        "optimizer.iteration": np.array(step, np.int64),
    }
    return Checkpoint(Progress(step=step, loss_sum=0.1 + 0.2, tokens=3 * step), tensors)


def test_what_is_written_is_read_back_to_the_bit(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, make(5), keep=2)
    read = read_newest_checkpoint(tmp_path, SHAPES)
    assert read is not None
    assert read.progress == Progress(step=5, loss_sum=0.1 + 0.2, tokens=15)
    assert math.isinf(read.progress.best_loss)
    for name, tensor in make(5).tensors.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert np.array_equal(read.tensors[name], tensor)


def test_the_newest_are_kept_by_number_not_by_name(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        write_checkpoint(tmp_path, make(step), keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-10", "step-11"]


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert read_newest_checkpoint(tmp_path, SHAPES) is None


def test_a_half_written_one_is_never_seen(tmp_path: Path) -> None:
    (tmp_path / ".step-9.tmp").mkdir()
    (tmp_path / ".step-9.tmp" / "tensors.safetensors").write_bytes(b"half")
    assert read_newest_checkpoint(tmp_path, SHAPES) is None


def test_the_same_step_can_be_written_again(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, make(3), keep=2)
    write_checkpoint(tmp_path, make(3), keep=2)
    assert read_newest_checkpoint(tmp_path, SHAPES) is not None


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path, make(3), keep=2) / "tensors.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"tensors.safetensors was changed.*Delete .*step-3"):
        read_newest_checkpoint(tmp_path, SHAPES)


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write_checkpoint(tmp_path, make(3), keep=2) / name).unlink()
    with pytest.raises(RunError, match=f"cannot be read.*{name}"):
        read_newest_checkpoint(tmp_path, SHAPES)


def test_one_of_another_model_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, make(3), keep=2)
    with pytest.raises(RunError, match=r"weights\.a should be F32 \(2, 4\).*Delete .*step-3"):
        read_newest_checkpoint(tmp_path, {**SHAPES, "weights.a": (2, 4)})


@pytest.mark.parametrize(("written", "expected"), [("a" * 64, "b" * 64), (None, "b" * 64)])
def test_one_of_another_run_is_refused(
    tmp_path: Path, written: str | None, expected: str | None
) -> None:
    """Even where its shapes are those of this run."""
    write_checkpoint(tmp_path, replace(make(3), identity=written), keep=2)
    assert read_newest_checkpoint(tmp_path, SHAPES, written) is not None
    with pytest.raises(RunError, match=r"step-3 .*belongs to another run\. Delete .*step-3"):
        read_newest_checkpoint(tmp_path, SHAPES, expected)


def test_plans_are_read_back(tmp_path: Path) -> None:
    plans = (Plan(1, 3, 0, 0.1 + 0.2, 2, 0.5, 7.25), Plan(2, 4, 0, 0.5, 2, 0.5, 8.0))
    checkpoint = make(3)
    checkpoint.progress.plans = plans
    write_checkpoint(tmp_path, checkpoint, keep=2)
    read = read_newest_checkpoint(tmp_path, SHAPES)
    assert read is not None
    assert read.progress.plans == plans


def change_state(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a state.json as someone would who seals it anew."""
    state = read_sealed(file.read_bytes())
    change(state)
    file.write_bytes(write_sealed(state))


@pytest.mark.parametrize("value", [-1, "many", None, True, [1], 10**400])
def test_nonsense_in_the_progress_is_refused(tmp_path: Path, value: object) -> None:
    file = write_checkpoint(tmp_path, make(3), keep=2) / "state.json"
    change_state(file, lambda state: state["progress"].update(step=value))
    with pytest.raises(RunError, match="step should be a number"):
        read_newest_checkpoint(tmp_path, SHAPES)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": 4}, "it is of step 4"),
        ({"logged_step": 4}, "of step 3, and counts later ones"),
        ({"best_step": 2}, "counts later ones"),
        ({"loss_tokens": 10}, "of 9 tokens, and counts more"),
        ({"plateau_scale": 2.0}, "expected 1 at most"),
        ({"recent_losses": [1, "2"]}, "should be numbers"),
        ({"recent_losses": 3}, "should be numbers"),
        ({"plans": {}}, "plans should be a list"),
        ({"more": 1}, "should be an object with"),
    ],
)
def test_numbers_that_do_not_fit_each_other_are_refused(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    file = write_checkpoint(tmp_path, make(3), keep=2) / "state.json"
    change_state(file, lambda state: state["progress"].update(values))
    with pytest.raises(RunError, match=rf"{message}.*Delete .*step-3 to resume"):
        read_newest_checkpoint(tmp_path, SHAPES)


@pytest.mark.parametrize(
    "values", [{"format_version": 1}, {"progress": []}, {"tensors": {}}, {"tensors": None}], ids=str
)
def test_a_state_with_an_entry_that_cannot_be_is_refused(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    file = write_checkpoint(tmp_path, make(3), keep=2) / "state.json"
    change_state(file, lambda state: state.update(values))
    with pytest.raises(RunError, match=rf"its entry {next(iter(values))}.*Delete .*step-3"):
        read_newest_checkpoint(tmp_path, SHAPES)


def test_a_state_as_large_as_a_disk_is_not_read(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path, make(3), keep=2) / "state.json"
    with file.open("r+b") as opened:
        opened.truncate(1 << 40)
    with pytest.raises(RunError, match=r"it has 1,099,511,627,776 bytes.*Delete .*step-3"):
        read_newest_checkpoint(tmp_path, SHAPES)


def test_every_digit_of_a_state_is_covered(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path, make(3), keep=2) / "state.json"
    content = file.read_text()
    places = [place for place, character in enumerate(content) if character.isdigit()]
    assert len(places) > 50
    for place in places:
        digit = str((int(content[place]) + 1) % 10)
        changed = content[:place] + digit + content[place + 1 :]
        if json.loads(changed) == json.loads(content):  # the 17th digit of a fraction
            continue
        file.write_text(changed)
        with pytest.raises(RunError, match=r"cannot be read.*Delete .*step-3 to resume"):
            read_newest_checkpoint(tmp_path, SHAPES)


def test_what_is_in_the_way_of_a_checkpoint_is_replaced(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    directory = tmp_path / "checkpoints"
    directory.mkdir()
    (directory / "step-3").symlink_to(elsewhere)
    (directory / ".step-3.tmp").write_text("x")
    write_checkpoint(directory, make(3), keep=2)
    assert read_newest_checkpoint(directory, SHAPES) is not None
    assert not (directory / "step-3").is_symlink()
    assert not list(elsewhere.iterdir())


def test_an_old_checkpoint_that_cannot_be_deleted_stays_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_checkpoint(tmp_path, make(3), keep=1)

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(checkpoints, "_remove", refuse)
    write_checkpoint(tmp_path, make(4), keep=1)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-3", "step-4"]
    assert "step-3 is no longer needed and cannot be deleted: Permission denied" in caplog.text


def test_a_full_disk_keeps_the_last_good_one_and_says_so(tmp_path: Path) -> None:
    """A limit on file sizes stands in for the full disk: the write fails in its middle."""
    write_checkpoint(tmp_path, make(3), keep=2)
    large = make(4)
    large.tensors["weights.a"] = np.zeros(50_000, np.float32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(RunError, match=r"disk is full.*last good checkpoint is .*step-3"):
            write_checkpoint(tmp_path, large, keep=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]
    assert read_newest_checkpoint(tmp_path, SHAPES) is not None
