"""The callbacks for TensorBoard: what they write, and what they say where it is missing."""

from __future__ import annotations

import errno
import importlib.util
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.training.reporting.tensorboard import (
    ScalarWriter,
    TraceRecorder,
    find_os_error,
    make_callbacks,
)
from tests.full_disk import limit_file_size


def drive(callbacks: list[keras.callbacks.Callback], steps: int, first_step: int = 0) -> None:
    """Call the callbacks as the training loop does."""
    listed = keras.callbacks.CallbackList(callbacks)
    listed.set_params({"steps": steps, "first_step": first_step})
    listed.on_train_begin()
    for step in range(steps):
        listed.on_train_batch_begin(step)
        tf.matmul(tf.ones((8, 8)), tf.ones((8, 8)))
        listed.on_train_batch_end(step, {"loss": 10.0 - step})
    listed.on_epoch_end(0, {"loss": 5.0, "val_loss": 6.0})
    listed.on_train_end()


def test_without_tensorboard_scalars_are_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install .llm-timecycle\[tensorboard\]"):
        make_callbacks(tmp_path, scalars_every=10, trace=False)


def test_nothing_asked_for_is_nothing_written(tmp_path: Path) -> None:
    assert make_callbacks(tmp_path, scalars_every=None, trace=False) == []


def test_the_trace_holds_a_few_steps_and_needs_no_extra(tmp_path: Path) -> None:
    (recorder,) = make_callbacks(tmp_path / "trace", scalars_every=None, trace=True)
    assert isinstance(recorder, TraceRecorder)
    drive([recorder], steps=12)
    traces = list((tmp_path / "trace").rglob("*.xplane.pb"))
    assert len(traces) == 1
    assert traces[0].stat().st_size > 0


def test_a_training_too_short_for_a_trace_leaves_none(tmp_path: Path) -> None:
    drive(make_callbacks(tmp_path / "trace", scalars_every=None, trace=True), steps=3)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("kind", [ScalarWriter, TraceRecorder])
def test_a_full_disk_is_none_of_memory(tmp_path: Path, kind: type) -> None:
    """TensorFlow has one error for both."""
    callback = kind(tmp_path / "tensorboard", 1) if kind is ScalarWriter else kind(tmp_path / "tb")
    with limit_file_size(100), pytest.raises(RunError, match=r"cannot write .*: the disk is full"):
        drive([callback], steps=12)


def test_a_full_disk_is_told_by_its_words() -> None:
    words = "a/b.v2; No space left on device"
    error = find_os_error(tf.errors.ResourceExhaustedError(None, None, words))
    assert error.errno == errno.ENOSPC
    found = find_os_error(tf.errors.FailedPreconditionError(None, None, "a is no directory\nOp: b"))
    assert (found.errno, str(found)) == (None, "a is no directory")


def test_scalars_are_those_of_the_steps_whose_turn_it_is(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    drive(make_callbacks(tmp_path, scalars_every=4, trace=False), steps=9, first_step=6)
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    losses = {
        event.step: float(tf.make_ndarray(event.tensor_proto))
        for event in events.Tensors("step/loss")
    }
    assert losses == {8: 9.0, 12: 5.0}
    (epoch,) = events.Tensors("epoch/val_loss")
    assert (epoch.step, float(tf.make_ndarray(epoch.tensor_proto))) == (15, 6.0)
