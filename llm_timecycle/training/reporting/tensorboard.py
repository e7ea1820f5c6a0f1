"""Keras callbacks that write files for TensorBoard (the `tensorboard` extra installs it)."""

from __future__ import annotations

import errno
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from llm_timecycle.errors import UsageError
from llm_timecycle.runs.manifest import explain_unwritten

FIRST_TRACED_STEP, TRACED_STEPS = 5, 5  # of a session: the first ones compile


def make_callbacks(
    path: Path, *, scalars_every: int | None, trace: bool
) -> list[keras.callbacks.Callback]:
    """The requested callbacks, all writing to `path`.

    Args:
        scalars_every: steps between two losses; None writes none.
        trace: whether to record a few steps with TensorFlow's profiler.

    Raises:
        UsageError: TensorBoard is needed and not installed.
    """
    callbacks: list[keras.callbacks.Callback] = []
    if scalars_every is not None:
        if importlib.util.find_spec("tensorboard") is None:
            raise UsageError(
                "writing losses for TensorBoard needs the package tensorboard. Install it: "
                'pip install "llm-timecycle[tensorboard]"'
            )
        callbacks.append(ScalarWriter(path, scalars_every))
    if trace:
        callbacks.append(TraceRecorder(path))
    return callbacks


@contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Raise RunError where TensorFlow cannot write to `path`, a directory of the run.

    Its own error of a full disk is the one of a full memory.
    """
    try:
        yield
    except tf.errors.OpError as error:
        raise explain_unwritten(path.parent, path, find_os_error(error)) from error


def find_os_error(error: tf.errors.OpError) -> OSError:
    """What the system reported, by its words in an error of TensorFlow."""
    for number in errno.errorcode:
        if os.strerror(number) in error.message:
            return OSError(number, os.strerror(number))
    return OSError(error.message.partition("\n")[0])


class ScalarWriter(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes the loss every `every` steps, and the losses of every epoch, for TensorBoard.

    Args:
        path: the directory of the event files.
        every: steps between two losses.
    """

    def __init__(self, path: Path, every: int) -> None:
        super().__init__()
        self._path, self._every = path, every

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Open the event file; the loop says how many steps came before."""
        self._step = int(self.params["first_step"])
        with explain_errors(self._path):
            self._writer = tf.summary.create_file_writer(str(self._path))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the loss, if it is due."""
        self._step += 1
        if self._step % self._every == 0:
            self._write("step", logs or {})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the losses of an epoch."""
        self._write("epoch", logs or {})
        with explain_errors(self._path):
            self._writer.flush()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Close the event file."""
        with explain_errors(self._path):
            self._writer.close()

    def _write(self, group: str, logs: Mapping[str, float]) -> None:
        with explain_errors(self._path), self._writer.as_default():
            for name, value in logs.items():
                tf.summary.scalar(f"{group}/{name}", value, step=self._step)


class TraceRecorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Records a few steps with TensorFlow's profiler, for TensorBoard.

    Args:
        path: the directory of the trace.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._step, self._is_recording = path, 0, False

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Start at the first traced step."""
        if self._step == FIRST_TRACED_STEP:
            with explain_errors(self._path):
                tf.profiler.experimental.start(str(self._path))
            self._is_recording = True

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Stop after the last one."""
        self._step += 1
        if self._step == FIRST_TRACED_STEP + TRACED_STEPS:
            self.on_train_end()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Write the recording."""
        if self._is_recording:
            self._is_recording = False
            with explain_errors(self._path):
                tf.profiler.experimental.stop()
