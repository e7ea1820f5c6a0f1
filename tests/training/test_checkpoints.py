"""Checkpoints: whole or absent, newest kept, damage and strangers refused."""

from __future__ import annotations

import json
import math
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from llm_timecycle.errors import RunError
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


def test_a_half_written_one_is_never_seen_and_goes_away(tmp_path: Path) -> None:
    (tmp_path / ".step-9.tmp").mkdir()
    (tmp_path / ".step-9.tmp" / "tensors.safetensors").write_bytes(b"half")
    assert read_newest_checkpoint(tmp_path, SHAPES) is None
    write_checkpoint(tmp_path, make(3), keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]


def test_the_same_step_can_be_written_again(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, make(3), keep=2)
    write_checkpoint(tmp_path, make(3), keep=2)
    assert read_newest_checkpoint(tmp_path, SHAPES) is not None


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path, make(3), keep=2) / "tensors.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"step-3 is damaged\. Delete .*step-3 to resume"):
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


def test_one_of_an_earlier_version_has_no_plans(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path, make(3), keep=2) / "state.json"
    state = json.loads(file.read_text())
    state["progress"] |= {"wall_s": 2.5}
    del state["progress"]["active_s"], state["progress"]["plans"]
    file.write_text(json.dumps(state))
    read = read_newest_checkpoint(tmp_path, SHAPES)
    assert read is not None
    assert (read.progress.active_s, read.progress.plans) == (2.5, ())


def test_plans_are_read_back(tmp_path: Path) -> None:
    plans = (Plan(1, 3, 0, 0.1 + 0.2, 2, 0.5, 7.25), Plan(2, 4, 0, 0.5, 2, 0.5, 8.0))
    checkpoint = make(3)
    checkpoint.progress.plans = plans
    write_checkpoint(tmp_path, checkpoint, keep=2)
    read = read_newest_checkpoint(tmp_path, SHAPES)
    assert read is not None
    assert read.progress.plans == plans


@pytest.mark.parametrize("value", [-1, "many", None, True, [1]])
def test_nonsense_in_the_progress_is_refused(tmp_path: Path, value: object) -> None:
    file = write_checkpoint(tmp_path, make(3), keep=2) / "state.json"
    state = json.loads(file.read_text())
    state["progress"]["step"] = value
    file.write_text(json.dumps(state))
    with pytest.raises(RunError, match="step should be a number"):
        read_newest_checkpoint(tmp_path, SHAPES)


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
